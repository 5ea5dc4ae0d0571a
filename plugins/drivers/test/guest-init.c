/*
 * The first process of a guest kernel: loads the modules that it is told and runs tools that it is asked for.
 * It must not write anywhere but into the scratch directory that it is given.
 *
 * A request is a number on a line of the console; "N.words" in the scratch directory holds the words of the tool, each
 * ended by a zero byte, "N.in" what it reads. It answers "N STATUS" when "N.out" and "N.err" are written. "0" ends.
 */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { MOST_WORDS = 256, LINE = 512 };

static char *environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL, NULL};

static void need(int result, const char *what)
{
    if (result >= 0) return;
    perror(what);
    reboot(RB_POWER_OFF);
}

static void load_modules(const char *list)
{
    FILE *names = fopen(list, "r");
    char line[LINE];
    while (names != NULL && fgets(line, sizeof line, names) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        int module = open(line, O_RDONLY | O_CLOEXEC);
        need(module, line);
        need((int)syscall(SYS_finit_module, module, "", 0), line);
        close(module);
    }
    if (names != NULL) fclose(names);
}

static int run(const char *scratch, long number)
{
    static char text[1 << 16];
    char path[LINE];
    char *words[MOST_WORDS + 1] = {0};
    snprintf(path, sizeof path, "%s/%ld.words", scratch, number);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);
    if (file >= 0) close(file);
    if (length < 0) return 126;
    text[length] = '\0';
    size_t count = 0;
    for (char *word = text; word < text + length && count < MOST_WORDS; word += strlen(word) + 1)
        words[count++] = word;
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    const char *ends[] = {"in", "out", "err"};
    for (int end = 0; end < 3; end += 1) {
        snprintf(path, sizeof path, "%s/%ld.%s", scratch, number, ends[end]);
        posix_spawn_file_actions_addopen(&files, end, path, end == 0 ? O_RDONLY : O_WRONLY | O_CREAT, 0644);
    }
    pid_t child = 0;
    // Spawned, not forked: copying an address space is what costs most in such a kernel.
    int failed = posix_spawnp(&child, words[0], &files, NULL, words, environment);
    posix_spawn_file_actions_destroy(&files);
    int status = 0;
    if (failed != 0 || waitpid(child, &status, 0) < 0) return 127;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(void)
{
    const char *scratch = "/mnt";
    const char *modules = getenv("KEDGE_MODULES");
    struct termios console;
    if (tcgetattr(0, &console) == 0) {
        cfmakeraw(&console);
        tcsetattr(0, TCSANOW, &console);
    }
    char tunables[LINE];
    const char *given = getenv("GLIBC_TUNABLES");
    snprintf(tunables, sizeof tunables, "GLIBC_TUNABLES=%s", given == NULL ? "" : given);
    environment[2] = tunables;
    need(setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1), "PATH");
    need(mount("proc", "/proc", "proc", 0, NULL), "/proc");
    need(mount("sys", "/sys", "sysfs", 0, NULL), "/sys");
    need(mount("run", "/run", "tmpfs", 0, NULL), "/run");
    need(mount("none", scratch, "hostfs", 0, getenv("KEDGE_SCRATCH")), scratch);
    if (modules != NULL) load_modules(modules);
    printf("\nready\n");
    fflush(stdout);
    char line[LINE];
    while (fgets(line, sizeof line, stdin) != NULL) {
        long number = strtol(line, NULL, 10);
        if (number <= 0) break;
        printf("\n%ld %d\n", number, run(scratch, number));
        fflush(stdout);
    }
    reboot(RB_POWER_OFF);
    return 0;
}
