/*
 * Lets a user-mode kernel save floating-point state on processors whose state is larger than it was built for.
 * It must not change any other request, nor need more of the stack than a kernel thread has.
 *
 * Preloaded into linux.uml. Such kernels save 832 bytes (x87, SSE, AVX); the system refuses to restore less than the
 * processor's whole state. Here the rest is added as its initial value, so guest programs must not use AVX-512.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { KNOWN = 832, HEADER = 512, FEATURES = 7 };

/* Static: a kernel thread's stack is too small, and the kernel is one thread. */
static _Alignas(64) unsigned char state[16384];
static size_t whole;

static long get(long pid, struct iovec *to)
{
    struct iovec all = {state, sizeof state};
    memset(state, 0, sizeof state);
    if (syscall(SYS_ptrace, PTRACE_GETREGSET, pid, NT_X86_XSTATE, &all) < 0) return -1;
    whole = all.iov_len;
    if (to->iov_len > whole) to->iov_len = whole;
    memcpy(to->iov_base, state, to->iov_len);
    return 0;
}

static long set(long pid, const struct iovec *from)
{
    struct iovec none = {state, 0};
    if (whole == 0 && get(pid, &none) < 0) return -1;
    memset(state, 0, sizeof state);
    memcpy(state, from->iov_base, from->iov_len < KNOWN ? from->iov_len : KNOWN);
    uint64_t header;
    memcpy(&header, state + HEADER, sizeof header);
    header &= FEATURES;
    memcpy(state + HEADER, &header, sizeof header);
    memset(state + HEADER + sizeof header, 0, 64 - sizeof header);
    struct iovec all = {state, whole};
    return syscall(SYS_ptrace, PTRACE_SETREGSET, pid, NT_X86_XSTATE, &all);
}

long ptrace(enum __ptrace_request request, ...)
{
    va_list rest;
    va_start(rest, request);
    long pid = va_arg(rest, long);
    void *address = va_arg(rest, void *);
    void *data = va_arg(rest, void *);
    va_end(rest);
    if ((uintptr_t)address == NT_X86_XSTATE && request == PTRACE_GETREGSET) return get(pid, data);
    if ((uintptr_t)address == NT_X86_XSTATE && request == PTRACE_SETREGSET) return set(pid, data);
    if (request >= PTRACE_PEEKTEXT && request <= PTRACE_PEEKUSER) {
        long value = 0;
        long result = syscall(SYS_ptrace, request, pid, address, &value);
        return result < 0 ? result : value;
    }
    return syscall(SYS_ptrace, request, pid, address, data);
}
