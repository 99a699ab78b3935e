#!/bin/bash
# One cell a task, each with one GPU; a line of the file is a cell's key, DATASET|SAMPLER/MODEL, as status shows it:
#   sbatch --array="1-$(wc -l < cells.txt)%8" docker/slurm.sh cells.txt
# In the home's folder, which all nodes see, with the environment activated. Ports: none; where PostgreSQL is used, POSTGRES_…
# and ICD_ANSWERS are of the shell that submits, and the password is better kept in ~/.pgpass.
#SBATCH --job-name=icd-assets
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@120
#SBATCH --output=slurm-%A_%a.log
set -euo pipefail

cells=${1:?the file with one cell a line}
cell=$(sed -n "${SLURM_ARRAY_TASK_ID:?run it as an array}p" "$cells")
if [[ -z $cell ]]; then
  echo "$cells has no line $SLURM_ARRAY_TASK_ID" >&2
  exit 2
fi
exec icd-assets train "$cell"          # exec: Slurm's signal reaches it, and the next try goes on from there
