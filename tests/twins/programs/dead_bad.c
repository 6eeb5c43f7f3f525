/* Keeps the time: a thread writes each second how many have passed. After an error that thread ends. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SECONDS "seconds"
#define FRESH SECONDS ".new"

static long passed;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int told;

/* How many seconds have passed so far; a damaged file is refused. */
static long read_seconds(void)
{
    char content[32] = "", *end = content;
    int file = open(SECONDS, O_RDONLY | O_CLOEXEC);
    if (file < 0 && errno == ENOENT)
        return 0;
    ssize_t got = file < 0 ? -1 : read(file, content, sizeof content - 1);
    if (got < 0) {
        perror("failed: " SECONDS);
        exit(1);
    }
    close(file);
    long seconds = strtol(content, &end, 10);
    if (end == content || *end != '\n' || end + 1 != content + got) {
        fprintf(stderr, SECONDS " is damaged: put the last good copy back\n");
        exit(1);
    }
    return seconds;
}

/* Write the content and have it on the disk; -1 if that fails. */
static int fill(const char *path, const char *content, size_t length)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file < 0)
        return -1;
    ssize_t put = 0;
    while (length > 0 && (put = write(file, content, length)) >= 0) {
        content += put;
        length -= put;
    }
    int failed = put < 0 || fsync(file) != 0;
    return close(file) != 0 || failed ? -1 : 0;
}

static int sync_directory(void)
{
    int directory = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return -1;
    int failed = fsync(directory) != 0;
    return close(directory) != 0 || failed ? -1 : 0;
}

static int save(long seconds)
{
    char content[32];
    int length = sprintf(content, "%ld\n", seconds);
    if (fill(FRESH, content, length) != 0 || rename(FRESH, SECONDS) != 0)
        return -1;
    return sync_directory();
}

/* Wait for a second; whether it was told to stop meanwhile. */
static int is_told(void)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec++;
    pthread_mutex_lock(&lock);
    while (!told && pthread_cond_clockwait(&changed, &lock, CLOCK_MONOTONIC, &end) == 0)
        ;
    int now = told;
    pthread_mutex_unlock(&lock);
    return now;
}

static void *count(void *nothing)
{
    do {
        passed++;
        if (save(passed) != 0) {
            perror("failed");
            break;
        }
    } while (!is_told());
    return nothing;
}

int main(void)
{
    sigset_t stops;
    int number;
    pthread_t thread;
    passed = read_seconds();
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &stops, NULL);
    if (pthread_create(&thread, NULL, count, NULL) != 0) {
        fprintf(stderr, "failed: no thread\n");
        return 1;
    }
    printf("ready\n");
    fflush(stdout);
    sigwait(&stops, &number);
    pthread_mutex_lock(&lock);
    told = 1;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
    pthread_join(thread, NULL);
    return 0;
}
