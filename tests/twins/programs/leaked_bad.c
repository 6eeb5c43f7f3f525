/* Books a delivery. The new book has a name of its own each time, and stays where it cannot be finished. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BOOK "deliveries.json"

static char text[1 << 20];
static char content[1 << 15];
static char fresh[] = BOOK ".XXXXXX";

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

/* Write the text to a fresh file and have it on the disk. */
static void fill(size_t length)
{
    size_t done = 0;
    int file = mkostemp(fresh, O_CLOEXEC);
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
    fill(render(count));
    if (rename(fresh, BOOK) != 0)
        fail("rename");
    sync_directory();
}

int main(void)
{
    int booked = read_book() + 1;
    save(booked);
    if (printf("booked: delivery %d\n", booked) < 0 || fflush(stdout) != 0)
        fail("booked, but not told");
    return 0;
}
