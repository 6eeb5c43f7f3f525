/* Raises a set point by one. The new settings get a name of their own, are on the disk, and replace the old in a step. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SETTINGS "thermostat.conf"

static char fresh[] = ".thermostat-XXXXXX";
static int made;

static void fail(const char *what)
{
    int error = errno;
    if (made)
        unlink(fresh);
    fprintf(stderr, "the set point is unchanged or unsure: %s: %s\n", what, strerror(error));
    exit(1);
}

static void remove_stale(void)
{
    glob_t found;
    if (glob(".thermostat-*", 0, NULL, &found) != 0)
        return;
    for (size_t at = 0; at < found.gl_pathc; at++)
        if (unlink(found.gl_pathv[at]) != 0)
            fail(found.gl_pathv[at]);
    globfree(&found);
}

static int read_target(void)
{
    char text[128], expected[128];
    size_t length = 0;
    ssize_t got;
    int target = 0;
    int file = open(SETTINGS, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        fail("open " SETTINGS);
    while ((got = read(file, text + length, sizeof text - 1 - length)) > 0)
        length += got;
    if (got < 0)
        fail("read " SETTINGS);
    close(file);
    text[length] = 0;
    if (sscanf(text, "target = %d", &target) == 1)
        snprintf(expected, sizeof expected, "target = %d\ncheck = %d\n", target, target * 7 + 3);
    else
        expected[0] = 0;
    if (length == 0 || strcmp(text, expected) != 0) {
        fprintf(stderr, SETTINGS " is damaged; put a good one back\n");
        exit(1);
    }
    return target;
}

static void write_target(int target)
{
    char text[128];
    int length = snprintf(text, sizeof text, "target = %d\ncheck = %d\n", target, target * 7 + 3);
    int done = 0;
    int file = mkstemp(fresh);
    if (file < 0)
        fail("make a new file");
    made = 1;
    while (done < length) {
        ssize_t put = write(file, text + done, length - done);
        if (put < 0)
            fail("write");
        done += put;
    }
    if (fchmod(file, 0644) != 0 || fsync(file) != 0 || close(file) != 0)
        fail("sync");
    if (rename(fresh, SETTINGS) != 0)
        fail("rename");
    made = 0;
    int directory = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0 || fsync(directory) != 0)
        fail("sync the directory");
    close(directory);
}

int main(void)
{
    remove_stale();
    int target = read_target() + 1;
    write_target(target);
    if (printf("the target is %d\n", target) < 0 || fflush(stdout) != 0)
        fail("changed, but not told");
    return 0;
}
