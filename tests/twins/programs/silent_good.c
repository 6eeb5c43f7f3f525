/* Books a delivery. If it was not saved, that is told. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BOOK "deliveries.json"
#define FRESH BOOK ".new"

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
        fprintf(stderr, BOOK " is damaged: put the last good copy back\n");
        exit(1);
    }
    return count;
}

/* Write the text and have it on the disk; 0 if that was done. */
static int fill(const char *path, size_t length)
{
    size_t done = 0;
    int wrong = 0;
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file < 0)
        return -1;
    while (done < length && !wrong) {
        ssize_t put = write(file, text + done, length - done);
        if (put < 0)
            wrong = -1;
        else
            done += put;
    }
    if (!wrong)
        wrong = fsync(file);
    return close(file) != 0 ? -1 : wrong;
}

static int sync_directory(void)
{
    int directory = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int wrong = directory < 0 ? -1 : fsync(directory);
    if (directory >= 0)
        close(directory);
    return wrong;
}

/* 0 if the book was replaced. */
static int save(int count)
{
    if (fill(FRESH, render(count)) != 0 || rename(FRESH, BOOK) != 0) {
        int error = errno;
        unlink(FRESH);
        errno = error;
        return -1;
    }
    return sync_directory();
}

int main(void)
{
    int booked = read_book() + 1;
    if (save(booked) != 0)
        fail("save");
    if (printf("booked: delivery %d\n", booked) < 0 || fflush(stdout) != 0)
        fail("booked, but not told");
    return 0;
}
