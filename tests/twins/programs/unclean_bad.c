/* Books a delivery when it opens and one when it closes. An error while it closes leaves the lock there. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define BOOK "deliveries.json"
#define FRESH BOOK ".new"
#define LOCK "deliveries.lock"

static char text[1 << 20];
static char content[1 << 15];

/* Puts the book with so many deliveries into text; returns its length. */
static size_t render(int count)
{
    size_t length = sprintf(text, "[\n");
    for (int number = 1; number <= count; number++)
        length += sprintf(text + length, "\"delivery %d\"%s\n", number, number < count ? "," : "");
    return length + sprintf(text + length, "]\n");
}

/* Takes the lock of the book, which nobody else may hold. */
static void acquire(void)
{
    int file = open(LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0 || flock(file, LOCK_EX | LOCK_NB) != 0) {
        perror("failed: lock");
        exit(1);
    }
}

static void fail(const char *what)
{
    int error = errno;
    unlink(FRESH);
    fprintf(stderr, "failed: %s: %s\n", what, strerror(error));
    exit(1);
}

/* How many deliveries the book holds; a damaged one is refused. */
static int read_book(void)
{
    size_t length = 0;
    ssize_t got;
    int count = -2;
    int file = open(BOOK, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        fail("open " BOOK);
    while ((got = read(file, content + length, sizeof content - length)) > 0)
        length += got;
    if (got < 0)
        fail("read " BOOK);
    close(file);
    for (size_t at = 0; at < length; at++)
        count += content[at] == '\n';
    if (render(count) != length || memcmp(text, content, length) != 0) {
        errno = EINVAL;
        fail(BOOK " is damaged, put the last good copy back");
    }
    return count;
}

/* Write the text and have it on the disk. */
static void fill(const char *path, size_t length)
{
    size_t done = 0;
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file < 0)
        fail("open for writing");
    while (done < length) {
        ssize_t put = write(file, text + done, length - done);
        if (put < 0)
            fail("write");
        done += put;
    }
    if (fsync(file) != 0 || close(file) != 0)
        fail("sync");
}

static void sync_directory(void)
{
    int directory = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0 || fsync(directory) != 0 || close(directory) != 0)
        fail("sync the directory");
}

static void save(int count)
{
    fill(FRESH, render(count));
    if (rename(FRESH, BOOK) != 0)
        fail("rename");
    sync_directory();
}

int main(void)
{
    sigset_t stops;
    int number;
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigprocmask(SIG_BLOCK, &stops, NULL);
    acquire();
    save(read_book() + 1);
    if (printf("open\n") < 0 || fflush(stdout) != 0)
        fail("open, but not told");
    sigwait(&stops, &number);
    save(read_book() + 1);
    if (unlink(LOCK) != 0)
        fail("unlink " LOCK);
    return 0;
}
