#!/bin/sh
# A SLURM cluster of one node, this machine, from Debian's or Ubuntu's packages: for `make test-slurm`, as root.
# Needs neither systemd nor cgroups, so a container or a virtual machine will do.
#
#   tests/slurm/setup.sh start     install what is missing, write the configuration, start the daemons
#   tests/slurm/setup.sh stop      end all jobs and the daemons that start began
#   tests/slurm/setup.sh status    what SLURM says of its node
#
# Everything is in KRONA_SLURM (default /var/lib/krona-slurm); an /etc/slurm of this machine is left alone.
set -eu

here=${KRONA_SLURM:-/var/lib/krona-slurm}
export SLURM_CONF="$here/slurm.conf"

install_packages() {
    for command in slurmctld slurmd sbatch munged; do
        command -v "$command" >/dev/null || missing=yes
    done
    [ -z "${missing:-}" ] && return
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge >/dev/null
}

write_configuration() {
    mkdir -p "$here/state" "$here/spool" "$here/munge"
    cat >"$SLURM_CONF" <<CONF
ClusterName=krona
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$here/munge/socket,cred_expire=10
CredType=cred/munge
StateSaveLocation=$here/state
SlurmdSpoolDir=$here/spool
SlurmctldPidFile=$here/slurmctld.pid
SlurmdPidFile=$here/slurmd.pid
SlurmctldLogFile=$here/slurmctld.log
SlurmdLogFile=$here/slurmd.log
SlurmctldPort=${KRONA_SLURM_PORT:-16817}
SlurmdPort=$((${KRONA_SLURM_PORT:-16817} + 1))
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
KillWait=10
BatchStartTimeout=30
SchedulerParameters=bf_interval=2,sched_interval=2,sched_min_interval=0,requeue_setup_env_fail
NodeName=$(hostname) NodeAddr=127.0.0.1 CPUs=$(nproc --all) RealMemory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo) State=UNKNOWN
PartitionName=work Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=20
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
CONF
}

start() {
    [ "$(id -u)" -eq 0 ] || { echo "tests/slurm/setup.sh start wants root: a container will do" >&2; exit 1; }
    install_packages
    write_configuration
    if [ ! -s "$here/munge/key" ]; then
        dd if=/dev/urandom of="$here/munge/key" bs=1024 count=1 2>/dev/null
        chmod 600 "$here/munge/key"
    fi
    chmod 755 "$here" "$here/munge"
    munged --force --key-file="$here/munge/key" --socket="$here/munge/socket" --pid-file="$here/munged.pid" \
        --log-file="$here/munged.log" --seed-file="$here/munge/seed"
    slurmctld -c
    slurmd -c
    for _ in $(seq 60); do
        if sinfo --noheader --format=%T 2>/dev/null | grep -q idle; then
            echo "SLURM runs on $(nproc --all) cores: export SLURM_CONF=$SLURM_CONF"
            return
        fi
        sleep 1
    done
    echo "the node did not come up within a minute; $here/slurmctld.log and slurmd.log say why" >&2
    stop
    exit 1
}

stop() {
    for _ in $(seq 30); do  # jobs that an interrupted test left would outlive the daemons
        [ -n "$(squeue --noheader 2>/dev/null)" ] || break
        scancel --state=PENDING,RUNNING,SUSPENDED 2>/dev/null || true
        sleep 1
    done
    for daemon in slurmd slurmctld munged; do
        file="$here/$daemon.pid"
        [ -s "$file" ] || continue
        pid=$(cat "$file")
        kill "$pid" 2>/dev/null || continue
        for _ in $(seq 100); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -9 "$pid" 2>/dev/null || true
        rm -f "$file"
    done
}

case "${1:-}" in
    start) start ;;
    stop) stop ;;
    status) sinfo --long --Node ;;
    *) sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
