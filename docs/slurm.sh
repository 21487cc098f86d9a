#!/usr/bin/env bash
# m3ray on a Slurm cluster: a Ray on the job's nodes, the given command on the first of them, and Ray's end with it.
#   sbatch docs/slurm.sh m3ray reproduce --dataset table --root clips.csv --out results
#   sbatch --nodes 1 --gpus-per-node 4 docs/slurm.sh m3ray extract --dataset folder --root videos --out results
# Videos, root and the environment with m3ray lie on a file system that all nodes share. CHANGE marks what is yours to set.
#SBATCH --job-name=m3ray
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=08:00:00
#SBATCH --output=m3ray-%j.log
# CHANGE: with GPUs, name their partition here, and take one # of the next line away. Without, networks run on processors.
##SBATCH --partition=gpu --gpus-per-node=1
set -euo pipefail
[ $# -gt 0 ] || { echo "usage: sbatch docs/slurm.sh m3ray COMMAND ..." >&2; exit 2; }
# . .venv/bin/activate                        # CHANGE, or `module load`: what brings m3ray and ray

read -r first < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
# CHANGE where nodes have several networks and the first is not the fast one.
read -r host _ < <(srun --nodes 1 --ntasks 1 --nodelist "$first" hostname --all-ip-addresses)
address=$host:$((20000 + SLURM_JOB_ID % 20000))

# Nobody else on these nodes gets in, and nobody's files are in the way. Ray's own logs stay in RAY_TMPDIR of each node.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python3 -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN
export RAY_TMPDIR=/tmp/ray-$SLURM_JOB_ID
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300 RAY_USAGE_STATS_ENABLED=0
export OMP_WAIT_POLICY=PASSIVE RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=1

# Where Ray itself does not start, `ray symmetric-run` ends with 0 all the same, and workers may end late and badly: how the
# command ended is what it leaves in this file.
done=$PWD/.m3ray-$SLURM_JOB_ID
trap 'rm -rf "$done"' EXIT
# shellcheck disable=SC2016 # the last bash fills them in
srun --wait 60 --nodes "$SLURM_JOB_NUM_NODES" --ntasks-per-node 1 --cpus-per-task "$SLURM_CPUS_ON_NODE" --cpu-bind none \
    ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" --num-cpus "$SLURM_CPUS_ON_NODE" -- \
    env RAY_ADDRESS="$address" bash -c '"$@"; echo $? > "$0"' "$done" "$@" || true
[ -e "$done" ] || { echo "error: the command did not end, see above: was Ray started on all nodes?" >&2; exit 1; }
exit "$(cat "$done")"
