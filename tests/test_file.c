// Files that appear whole or not at all.
#include <sys/stat.h>

#include "models.h"

static char folder[64];

static int set_up(void **state)
{
    (void)state;
    temp_folder(folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(folder);
    return 0;
}

static const char *in_folder(const char *name)
{
    static char paths[4][256];
    static int next;
    char *path = paths[next = (next + 1) % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void write_file(const char *path, const char *text)
{
    rrt_error err = {0};
    assert_ok(rrt__file_write(path, text, strlen(text), &err));
}

static void assert_content(const char *path, const char *expected)
{
    rrt_error err = {0};
    rrt__string text = {0};
    assert_ok(rrt__file_read(&text, path, &err));
    assert_string_equal(text.data, expected);
    rrt__string_free(&text);
}

static size_t count_entries(void)
{
    size_t count = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; (entry = readdir(dir));) count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void test_file_destination(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__destination d;
    const char *path = in_folder("result");
    assert_ok(rrt__destination_open(&d, path, false, false, &err));
    write_file(d.temporary, "new");
    assert_false(rrt__path_exists(path)); // not before it is complete
    assert_ok(rrt__destination_commit(&d, &err));
    assert_content(path, "new");
    assert_int_equal(count_entries(), 1);

    assert_fails(RRT_STATUS_EXISTS, "--force", rrt__destination_open(&d, path, false, false, &err));
    assert_content(path, "new");

    assert_ok(rrt__destination_open(&d, path, false, true, &err));
    write_file(d.temporary, "newer");
    assert_content(path, "new"); // the old one stands until then
    assert_ok(rrt__destination_commit(&d, &err));
    assert_content(path, "newer");

    assert_ok(rrt__destination_open(&d, path, false, true, &err));
    write_file(d.temporary, "half");
    rrt__destination_discard(&d);
    assert_content(path, "newer");
    assert_int_equal(count_entries(), 1);
    unlink(path);
}

static void write_inside(const rrt__destination *d, const char *name, const char *text)
{
    char path[4096];
    assert_int_equal(rrt__path_join(path, d->temporary, name, NULL), RRT_STATUS_OK);
    write_file(path, text);
}

static void test_folder_destination(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__destination d;
    const char *path = in_folder("model/"); // a slash at the end does not matter
    assert_ok(rrt__destination_open(&d, path, true, false, &err));
    write_inside(&d, "config.json", "1");
    write_inside(&d, "old", "1");
    assert_false(rrt__path_exists(in_folder("model")));
    assert_ok(rrt__destination_commit(&d, &err));
    assert_content(in_folder("model/config.json"), "1");
    assert_fails(RRT_STATUS_EXISTS, "model", rrt__destination_open(&d, path, true, false, &err));

    assert_ok(rrt__destination_open(&d, path, true, true, &err));
    write_inside(&d, "config.json", "2");
    assert_content(in_folder("model/config.json"), "1");
    assert_ok(rrt__destination_commit(&d, &err));
    assert_content(in_folder("model/config.json"), "2");
    assert_false(rrt__path_exists(in_folder("model/old"))); // the new folder, not a mixture
    assert_int_equal(count_entries(), 1);

    assert_ok(rrt__destination_open(&d, path, true, true, &err));
    write_inside(&d, "config.json", "3");
    rrt__destination_discard(&d);
    assert_content(in_folder("model/config.json"), "2");
    assert_int_equal(count_entries(), 1);

    // What is not ours stays.
    unlink(in_folder("model/config.json"));
    write_file(in_folder("model/diary"), "dear");
    assert_fails(RRT_STATUS_EXISTS, "no result",
                 rrt__destination_open(&d, in_folder("model/"), true, true, &err));
    assert_fails(RRT_STATUS_EXISTS, "no result",
                 rrt__destination_open(&d, in_folder("model"), false, true, &err));
    assert_content(in_folder("model/diary"), "dear");
    unlink(in_folder("model/diary"));

    // A file takes the place of a folder, and a folder that of a file.
    assert_ok(rrt__destination_open(&d, in_folder("model"), false, true, &err));
    write_file(d.temporary, "file");
    assert_ok(rrt__destination_commit(&d, &err));
    assert_content(in_folder("model"), "file");
    assert_ok(rrt__destination_open(&d, in_folder("model"), true, true, &err));
    assert_ok(rrt__destination_commit(&d, &err));
    assert_true(rrt__path_is_folder(in_folder("model")));
    assert_int_equal(count_entries(), 1);
    rmdir(in_folder("model"));
}

static void test_destination_refusals(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__destination d;
    char path[5000];
    memset(path, 'x', sizeof path);
    path[sizeof path - 1] = '\0';
    assert_fails(RRT_STATUS_ARGUMENT, "too long", rrt__destination_open(&d, path, false, true, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "empty", rrt__destination_open(&d, "", false, true, &err));
    assert_fails(RRT_STATUS_IO, "nowhere",
                 rrt__destination_open(&d, in_folder("nowhere/model"), true, false, &err));
    // A dangling link is something that exists.
    assert_int_equal(symlink("/nowhere", in_folder("link")), 0);
    assert_fails(RRT_STATUS_EXISTS, "link", rrt__destination_open(&d, in_folder("link"), false, false, &err));
    unlink(in_folder("link"));
    // Nothing to move.
    assert_ok(rrt__destination_open(&d, in_folder("none"), false, false, &err));
    unlink(d.temporary);
    assert_fails(RRT_STATUS_IO, "none", rrt__destination_commit(&d, &err));
    assert_int_equal(count_entries(), 0);
    // A failed commit leaves the old one standing.
    write_file(in_folder("old"), "old");
    assert_ok(rrt__destination_open(&d, in_folder("old"), false, true, &err));
    unlink(d.temporary);
    assert_fails(RRT_STATUS_IO, "old", rrt__destination_commit(&d, &err));
    assert_content(in_folder("old"), "old");
    unlink(in_folder("old"));
}

// The name is checked again when the result takes it: minutes have passed.
static void test_destination_taken_meanwhile(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__destination d, e;
    for (int is_folder = 0; is_folder < 2; is_folder++) {
        assert_ok(rrt__destination_open(&d, in_folder("model"), is_folder, false, &err));
        assert_ok(rrt__destination_open(&e, in_folder("model"), is_folder, false, &err));
        assert_string_not_equal(d.temporary, e.temporary); // each writes to its own
        assert_ok(rrt__destination_commit(&d, &err));
        assert_fails(RRT_STATUS_EXISTS, "--force", rrt__destination_commit(&e, &err));
        rrt__destination_discard(&e);
        assert_int_equal(count_entries(), 1);
        remove(in_folder("model"));
    }
    for (int overwrite = 0; overwrite < 2; overwrite++) {
        assert_ok(rrt__destination_open(&d, in_folder("model"), true, overwrite, &err));
        assert_int_equal(mkdir(in_folder("model"), 0777), 0);
        write_file(in_folder("model/thesis"), "years");
        assert_fails(RRT_STATUS_EXISTS, "model", rrt__destination_commit(&d, &err));
        rrt__destination_discard(&d);
        assert_content(in_folder("model/thesis"), "years");
        assert_int_equal(count_entries(), 1);
        unlink(in_folder("model/thesis"));
        rmdir(in_folder("model"));
    }
}

static void test_destination_with_folders(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__destination d;
    assert_int_equal(mkdir(in_folder("model"), 0777), 0);
    write_file(in_folder("model/config.json"), "{}");
    assert_int_equal(mkdir(in_folder("model/notes"), 0777), 0);
    assert_fails(RRT_STATUS_EXISTS, "'notes'",
                 rrt__destination_open(&d, in_folder("model"), true, true, &err));
    assert_content(in_folder("model/config.json"), "{}");
    // One that appears meanwhile.
    rmdir(in_folder("model/notes"));
    assert_ok(rrt__destination_open(&d, in_folder("model"), true, true, &err));
    assert_int_equal(mkdir(in_folder("model/notes"), 0777), 0);
    assert_fails(RRT_STATUS_EXISTS, "'notes'", rrt__destination_commit(&d, &err));
    rrt__destination_discard(&d);
    assert_content(in_folder("model/config.json"), "{}");
    assert_int_equal(count_entries(), 1);
    remove_folder(in_folder("model"));
}

static void test_permissions(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__destination d;
    struct stat info;
    mode_t mask = umask(027);
    for (int is_folder = 0; is_folder < 2; is_folder++) {
        assert_ok(rrt__destination_open(&d, in_folder("result"), is_folder, false, &err));
        assert_ok(rrt__destination_commit(&d, &err));
        assert_int_equal(stat(in_folder("result"), &info), 0);
        assert_int_equal(info.st_mode & 0777, is_folder ? 0750 : 0640);
        remove(in_folder("result"));
    }
    umask(mask);
}

static void test_at_or_in(void **state)
{
    (void)state;
    assert_int_equal(mkdir(in_folder("a"), 0777), 0);
    write_file(in_folder("a/x"), "");
    assert_int_equal(symlink(in_folder("a"), in_folder("link")), 0);
    assert_true(rrt__path_is_at_or_in(in_folder("a"), in_folder("a/")));
    assert_true(rrt__path_is_at_or_in(in_folder("link"), in_folder("a")));
    assert_true(rrt__path_is_at_or_in(in_folder("a/x"), in_folder("a")));
    assert_true(rrt__path_is_at_or_in(in_folder("link/x"), in_folder("a")));
    assert_true(rrt__path_is_at_or_in(in_folder("a/nothing"), in_folder("a")));
    assert_true(rrt__path_is_at_or_in("CMakeLists.txt", "."));
    assert_false(rrt__path_is_at_or_in(in_folder("b"), in_folder("a")));
    assert_false(rrt__path_is_at_or_in(in_folder("a/x"), in_folder("b")));
    assert_false(rrt__path_is_at_or_in(folder, in_folder("a")));
    remove_folder(in_folder("a"));
    unlink(in_folder("link"));
}

static void test_maps(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__map map;
    write_file(in_folder("empty"), "");
    assert_ok(rrt__map_open(&map, in_folder("empty"), &err));
    assert_int_equal(map.size_bytes, 0);
    rrt__map_close(&map);
    write_file(in_folder("full"), "some bytes");
    assert_ok(rrt__map_open(&map, in_folder("full"), &err));
    assert_int_equal(map.size_bytes, 10);
    assert_memory_equal(map.data, "some bytes", 10);
    rrt__map_close(&map);
    rrt__map_close(&map); // twice is fine
    assert_fails(RRT_STATUS_IO, folder, rrt__map_open(&map, folder, &err));
    assert_fails(RRT_STATUS_IO, "nowhere", rrt__map_open(&map, in_folder("nowhere"), &err));
    assert_fails(RRT_STATUS_IO, "''", rrt__map_open(&map, "", &err));
    assert_fails(RRT_STATUS_IO, "/dev/null", rrt__map_open(&map, "/dev/null", &err));
    unlink(in_folder("empty"));
    unlink(in_folder("full"));
}

static void test_writing(void **state)
{
    (void)state;
    rrt_error err = {0};
    assert_ok(rrt__file_write(in_folder("empty"), NULL, 0, &err));
    assert_content(in_folder("empty"), "");
    unlink(in_folder("empty"));
    assert_fails(RRT_STATUS_IO, "/dev/full", rrt__file_write("/dev/full", "x", 1, &err));
    assert_fails(RRT_STATUS_IO, "nowhere", rrt__file_write(in_folder("nowhere/x"), "x", 1, &err));
    rrt__string text = {0};
    assert_fails(RRT_STATUS_IO, folder, rrt__file_read(&text, folder, &err)); // a folder
    rrt__string_free(&text);
    char path[4096], name[4096];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_fails(RRT_STATUS_ARGUMENT, "too long", rrt__path_join(path, folder, name, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file_destination),
        cmocka_unit_test(test_folder_destination),
        cmocka_unit_test(test_destination_refusals),
        cmocka_unit_test(test_destination_taken_meanwhile),
        cmocka_unit_test(test_destination_with_folders),
        cmocka_unit_test(test_permissions),
        cmocka_unit_test(test_at_or_in),
        cmocka_unit_test(test_maps),
        cmocka_unit_test(test_writing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
