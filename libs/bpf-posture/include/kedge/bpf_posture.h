/*
 * The values of the two pinned posture maps, for BPF programs and their loaders: include it, nothing else is needed.
 * It must not hold anything but the layout.
 *
 * Both are BPF_MAP_TYPE_ARRAY with one entry, key 0, and BPF_F_MMAPABLE; posture_in_force has BPF_F_RDONLY_PROG too.
 */
#ifndef KEDGE_BPF_POSTURE_H
#define KEDGE_BPF_POSTURE_H

#define KEDGE_BPF_POSTURE_LEVEL_MAP "posture_level"
#define KEDGE_BPF_IN_FORCE_MAP "posture_in_force"
#define KEDGE_BPF_IN_FORCE_VERSION 1

/*
 * posture_level: what the host's programs ask for. Input only, and it may only tighten. Write level and sequence in
 * one store of 8 bytes. A writer that raises `sequence` with every request has each of them carried out once, also
 * over a restart of the coordinator; one that leaves it 0 is asked again after a restart where its level is tighter
 * than the one in force.
 */
struct kedge_bpf_posture_level {
  unsigned int level;    /* 1 lockdown to 5 normal; anything else is refused and recorded */
  unsigned int sequence; /* 0 = not counted */
};

/* posture_in_force: what the appliance obeys. Written by the coordinator alone. */
struct kedge_bpf_in_force {
  unsigned long long word;            /* epoch << 16 | level: in one piece */
  unsigned long long published_at_ns; /* CLOCK_MONOTONIC, as bpf_ktime_get_ns(): older than a second = nobody speaks */
  unsigned long long decided;         /* epoch << 16 | level decided last, where the transition leads */
  unsigned int version;               /* KEDGE_BPF_IN_FORCE_VERSION; 0 = nothing was published yet */
  unsigned int reserved[9];
};

_Static_assert(sizeof(struct kedge_bpf_posture_level) == 8, "one store");
_Static_assert(sizeof(struct kedge_bpf_in_force) == 64, "one cache line");

#endif
