// Training text: shards, windows, the shuffle; and everything that is wrong with files.
#include <signal.h>
#include <sys/resource.h>

#include "base/hash.h"
#include "texts.h"
#include "train/data.h"
#include "train/shards.h"

static char shards[128]; // a folder in the temporary one
static rrt_tokenizer *smollm;

static int set_up(void **state)
{
    (void)state;
    rrt_error err = {0};
    temp_folder(folder);
    snprintf(shards, sizeof shards, "%s/shards", folder);
    assert_ok(rrt_tokenizer_open(&smollm, RRT_TEST_DATA "/tokenizer-smollm", &err));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rrt_tokenizer_close(smollm);
    remove_folder(folder);
    return 0;
}

// The same tokenizer with another setting.
static rrt_tokenizer *open_changed(json_t *changes)
{
    rrt_error err = {0};
    rrt_tokenizer *tokenizer;
    char path[64];
    temp_folder(path);
    copy_file(RRT_TEST_DATA "/tokenizer-smollm", path, "tokenizer.json");
    copy_file(RRT_TEST_DATA "/tokenizer-smollm", path, "tokenizer_config.json");
    update_json(path, "tokenizer_config.json", changes);
    assert_ok(rrt_tokenizer_open(&tokenizer, path, &err));
    remove_folder(path);
    return tokenizer;
}

static rrt_tokenizer *open_with_bos(void)
{
    return open_changed(json_pack("{s:b}", "add_bos_token", 1));
}

static rrt_status make(const rrt_tokenizer *tokenizer, const char *const *files, size_t n_files,
                       rrt_error *err)
{
    return rrt__shards_make(shards, tokenizer, files, n_files, NULL, err);
}

static void assert_shard(size_t index, const int32_t *ids, size_t count)
{
    rrt_error err = {0};
    char path[4096];
    rrt__map map;
    const rrt__shard_header *header;
    assert_ok(rrt__shard_path(path, shards, index, &err));
    assert_ok(rrt__shard_map(&map, &header, path, &err));
    assert_int_equal(header->count, count);
    assert_memory_equal(header + 1, ids, count * sizeof *ids);
    rrt__map_close(&map);
}

typedef struct id_list {
    int32_t *data;
    size_t count, capacity;
} id_list;

static void append_id(id_list *list, int32_t id)
{
    rrt_error err = {0};
    assert_ok(rrt__array_reserve(&list->data, &list->capacity, list->count + 1, sizeof id, &err));
    list->data[list->count++] = id;
}

// Ids of texts, each with EOS behind it.
static id_list encode_all(const rrt_tokenizer *tokenizer, const char *const *texts, size_t n_texts)
{
    rrt_error err = {0};
    id_list all = {0};
    for (size_t t = 0; t < n_texts; t++) {
        int32_t *ids;
        size_t count;
        assert_ok(rrt_encode(tokenizer, texts[t], strlen(texts[t]), NULL, &ids, &count, &err));
        for (size_t i = 0; i < count; i++) append_id(&all, ids[i]);
        if (rrt_tokenizer_eos(tokenizer) >= 0) append_id(&all, rrt_tokenizer_eos(tokenizer));
        rrt_ids_free(ids);
    }
    return all;
}

static void assert_documents(size_t index, const char *const *texts, size_t n_texts)
{
    id_list ids = encode_all(smollm, texts, n_texts);
    assert_shard(index, ids.data, ids.count);
    rrt__free(ids.data);
}

static void every_kind_of_file_gives_the_ids_of_its_documents(void **state)
{
    (void)state;
    rrt_error err = {0};
    static const char plain[] = "The cat sat.\n\nOn the mat.\n",
                      lines[] = "{\"text\": \"one \\u00e9\\n\\u0000two\"}\n"
                                "\n  \r\n{\"id\": 3, \"text\": \"\"}\n"
                                "{\"meta\": {\"text\": 1}, \"text\": \"three\"}\r\n{\"text\":\"four\"}";
    const char *const files[] = {write_text("a.txt", plain), write_packed("b.txt.zst", plain),
                                 write_text("c.jsonl", lines), write_packed("d.jsonl.zst", lines),
                                 write_text("e.txt", "")};
    assert_ok(make(smollm, files, 5, &err));
    for (size_t i = 0; i < 2; i++) assert_documents(i, (const char *[]){plain}, 1);
    id_list three = encode_all(smollm, (const char *[]){"three", "four"}, 2), one = {0};
    int32_t *ids;
    size_t count;
    assert_ok(rrt_encode(smollm, "one \xc3\xa9\n\0two", 11, NULL, &ids, &count, &err)); // a NUL in it
    for (size_t i = 0; i < count; i++) append_id(&one, ids[i]);
    append_id(&one, rrt_tokenizer_eos(smollm));
    for (size_t i = 0; i < three.count; i++) append_id(&one, three.data[i]);
    for (size_t i = 2; i < 4; i++) assert_shard(i, one.data, one.count);
    assert_shard(4, NULL, 0);
    rrt_ids_free(ids);
    rrt__free(one.data);
    rrt__free(three.data);

    // Marked documents, however much is read at a time.
    const char *marked =
        write_text("m.txt", "<|endoftext|>\nthree\n<|endoftext|>\n<|endoftext|>\nfo <|endoftext|>\nur"
                            "\n<|endoftext|>x\n<|endoftext|>");
    assert_ok(make(smollm, &marked, 1, &err));
    assert_documents(0, (const char *[]){"three", "fo <|endoftext|>\nur\n<|endoftext|>x"}, 2);

    // A tokenizer without EOS: nothing between documents.
    rrt_tokenizer *none = open_changed(json_pack("{s:n}", "eos_token"));
    assert_int_equal(rrt_tokenizer_eos(none), -1);
    three = encode_all(none, (const char *[]){"three", "four"}, 2);
    const char *path = write_text(
        "f.jsonl",
        "{\"text\": \"three\", \"id\": 123456789012345678901234, \"score\": NaN}\n{\"text\": \"four\"}\n");
    assert_ok(make(none, &path, 1, &err));
    assert_shard(0, three.data, three.count);
    rrt__free(three.data);
    rrt_tokenizer_close(none);
    clear_folder();
}

// What other systems and programs make of the same text.
static void byte_order_marks_line_ends_and_case_do_not_matter(void **state)
{
    (void)state;
    rrt_error err = {0};
    static const char lines[] = "{\"text\": \"three\"}\r\n{\"text\": \"four\"}\r\n", mark[] = "\xef\xbb\xbf";
    char marked[128], marked_lines[128];
    snprintf(
        marked, sizeof marked,
        "%sone\r\ntwo\r\n<|endoftext|>\r\nthree\r\n<|endoftext|>\r\n<|endoftext|>\rfour\r\n<|endoftext|>\r",
        mark);
    snprintf(marked_lines, sizeof marked_lines, "%s%s", mark, lines);
    const char *const files[] = {write_text("a.txt", marked),         write_packed("b.TXT.ZST", marked),
                                 write_text("c.JSONL", lines),        write_text("d.ndjson", marked_lines),
                                 write_packed("e.NdJson.zst", lines), write_text("f.txt", mark)};
    assert_ok(make(smollm, files, 6, &err));
    for (size_t i = 0; i < 2; i++)
        assert_documents(i, (const char *[]){"one\r\ntwo", "three", "<|endoftext|>\rfour"}, 3);
    for (size_t i = 2; i < 5; i++) assert_documents(i, (const char *[]){"three", "four"}, 2);
    assert_shard(5, NULL, 0);
    clear_folder();
}

static void zstd_frames_are_read_one_after_another(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__string packed = pack("one\n", 4), more = pack("two\n", 4);
    assert_ok(rrt__string_append(&packed, more.data, more.length, &err));
    const char *path = write_bytes("a.txt.zst", packed.data, packed.length);
    assert_ok(make(smollm, &path, 1, &err));
    assert_documents(0, (const char *[]){"one\ntwo\n"}, 1);
    rrt__string_free(&packed);
    rrt__string_free(&more);
    clear_folder();
}

static void a_file_longer_than_a_piece_keeps_its_ids(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__string text = {0};
    append_fragments(&text, 0, 6u << 20);
    const char *paths[] = {write_bytes("long.txt", text.data, text.length),
                           write_packed("long.zst", text.data)};
    assert_ok(make(smollm, paths, 2, &err));
    for (size_t i = 0; i < 2; i++) assert_documents(i, (const char *[]){text.data}, 1);
    rrt__string_free(&text);
    clear_folder();
}

static ino_t inode(size_t index)
{
    rrt_error err = {0};
    char path[4096];
    struct stat info;
    assert_ok(rrt__shard_path(path, shards, index, &err));
    return stat(path, &info) == 0 ? info.st_ino : 0;
}

static size_t count_shards(void)
{
    size_t count = 0;
    DIR *dir = opendir(shards);
    for (struct dirent *entry; dir && (entry = readdir(dir));) count += entry->d_name[0] != '.';
    if (dir) closedir(dir);
    return count;
}

static void shards_are_kept_while_file_and_tokenizer_stay(void **state)
{
    (void)state;
    rrt_error err = {0};
    const char *files[] = {write_text("a.txt", "one"), write_text("b.txt", "two"),
                           write_text("c.txt", "three")};
    ino_t before[3];
    assert_ok(make(smollm, files, 3, &err));
    for (size_t i = 0; i < 3; i++) before[i] = inode(i);
    assert_ok(make(smollm, files, 3, &err));
    for (size_t i = 0; i < 3; i++) assert_int_equal(inode(i), before[i]);

    write_text("b.txt", "TWO"); // another content of the same size
    assert_ok(make(smollm, files, 3, &err));
    assert_documents(1, (const char *[]){"TWO"}, 1);
    assert_true(inode(0) == before[0] && inode(1) != before[1] && inode(2) == before[2]);

    write_text("d.txt", "three"); // another name for the same content
    files[2] = in_folder("d.txt");
    assert_ok(make(smollm, files, 3, &err));
    assert_true(inode(2) != before[2]);

    assert_ok(make(smollm, files, 2, &err)); // fewer files: what is left over goes
    assert_int_equal(count_shards(), 2);

    rrt_tokenizer *other = open_with_bos();
    assert_ok(make(other, files, 1, &err));
    assert_true(inode(0) != before[0]);
    assert_int_equal(count_shards(), 1);
    before[0] = inode(0);
    assert_int_equal(truncate(in_folder("shards/0000.tokens"), 515), 0); // cut off
    assert_ok(make(other, files, 1, &err));
    assert_true(inode(0) != before[0]);
    rrt_tokenizer_close(other);
    clear_folder();
}

static void refuse(const char *path, rrt_status status, const char *first, const char *second)
{
    rrt_error err = {0};
    assert_fails(status, path, make(smollm, &path, 1, &err));
    if (!strstr(err.where, first) && !strstr(err.message, first))
        fail_msg("'%s' is not in: %s: %s", first, err.where, err.message);
    if (!strstr(err.where, second) && !strstr(err.message, second))
        fail_msg("'%s' is not in: %s: %s", second, err.where, err.message);
    assert_int_equal(count_shards(), 0); // neither half a shard nor a temporary file
}

static void bad_files_are_refused_with_line_and_byte(void **state)
{
    (void)state;
    rrt_error err = {0};
    refuse(write_text("a.txt", "one\ntwo \xff three"), RRT_STATUS_FORMAT, "line 2, byte 8", "0xff");
    refuse(write_text("a.txt", "one\n\xe2\x82"), RRT_STATUS_FORMAT, "line 2, byte 4", "0xe2");
    refuse(write_packed("a.zst", "one\n\xc0"), RRT_STATUS_FORMAT, "byte 4 of the unpacked text", "0xc0");
    refuse(write_text("a.jsonl", "{\"text\": \"a\"}\n\n{\"text\": \"b\"\n"), RRT_STATUS_FORMAT,
           "line 3, byte 15", "not valid JSON");
    refuse(write_text("a.jsonl", "{\"text\": \"\xff\"}"), RRT_STATUS_FORMAT, "line 1, byte 0", "0xff");
    refuse(write_text("a.jsonl", "{\"text\": \"a\", \"text\": \"b\"}"), RRT_STATUS_FORMAT, "line 1",
           "duplicate");
    refuse(write_text("a.jsonl", "{\"txt\": \"a\"}"), RRT_STATUS_FORMAT, "line 1", "has no \"text\"");
    refuse(write_text("a.jsonl", "{\"text\": [\"a\"]}"), RRT_STATUS_FORMAT, "line 1", "is not a string");
    refuse(write_text("a.jsonl", "[\"text\"]"), RRT_STATUS_FORMAT, "line 1", "not a JSON object");
    refuse(write_packed("a.jsonl.zst", "{}\n"), RRT_STATUS_FORMAT, "line 1, byte 0 of", "has no \"text\"");
    refuse(write_text("a.txt.zst", "not compressed at all"), RRT_STATUS_FORMAT, "zstd", "byte 0");
    refuse(write_text("a.txt.zst", ""), RRT_STATUS_FORMAT, "cut off", "byte 0");
    refuse(write_text("a.json", "[\"text\"]"), RRT_STATUS_UNSUPPORTED, "a.json", ".json file");
    refuse(write_packed("a.JSON.zst", "[\"text\"]"), RRT_STATUS_UNSUPPORTED, "a.JSON", ".json file");
    refuse(write_text("a.txt", "\xff\xfeo\0n\0"), RRT_STATUS_FORMAT, "line 1, byte 0", "0xff"); // UTF-16
    refuse(in_folder("nothere"), RRT_STATUS_IO, "nothere", "cannot open");
    refuse(folder, RRT_STATUS_IO, folder, "regular file");
    assert_fails(RRT_STATUS_ARGUMENT, "no file", make(smollm, NULL, 0, &err));
    // A missing second file is found before the first is worked on.
    const char *const files[] = {write_text("a.txt", "one"), in_folder("nothere")};
    assert_fails(RRT_STATUS_IO, "nothere", make(smollm, files, 2, &err));
    assert_int_equal(count_shards(), 0);
    assert_fails(RRT_STATUS_IO, "a.txt", rrt__shards_make(files[0], smollm, files, 1, NULL, &err));
    clear_folder();
}

static void few_bytes_that_stand_for_many_are_refused(void **state)
{
    (void)state;
    enum { LENGTH = 40 << 20 };
    char *text = must_alloc(LENGTH, 1);
    memset(text, 'a', LENGTH);
    rrt__string packed = pack(text, LENGTH);
    assert_true(packed.length < 5000);
    refuse(write_bytes("a.txt.zst", packed.data, packed.length), RRT_STATUS_UNSUPPORTED, "no line break in",
           "line 1");
    rrt__string_free(&packed);
    memcpy(text, "{\"text\": \"", 10);
    packed = pack(text, LENGTH);
    refuse(write_bytes("a.jsonl.zst", packed.data, packed.length), RRT_STATUS_UNSUPPORTED,
           "a line of more than", "line 1");
    rrt__string_free(&packed);
    free(text);
    // A frame of one byte, by its header with a window of 2 GB.
    static const unsigned char frame[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x09, 0x00, 0x00, 'a'};
    refuse(write_bytes("a.txt.zst", (const char *)frame, sizeof frame), RRT_STATUS_UNSUPPORTED, "128 MB",
           "a.txt.zst");
    clear_folder();
}

static void cut_off_or_damaged_zstd_is_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    char text[3000];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 60 == 59 ? '\n' : (char)('a' + rrt__random_bits(3, 0, i) % 26);
    rrt__string packed = pack(text, sizeof text);
    for (size_t length = 0; length < packed.length; length += 1 + packed.length / 40)
        refuse(write_bytes("a.txt.zst", packed.data, length), RRT_STATUS_FORMAT, "cut off", "ends at byte");
    assert_ok(rrt__string_append(&packed, "garbage", 7, &err));
    refuse(write_bytes("a.txt.zst", packed.data, packed.length), RRT_STATUS_FORMAT, "damaged zstd", "byte");
    rrt__string_free(&packed);
    clear_folder();
}

// No room for the shard: a limit on the size of files stands in for a full disk.
static void a_full_disk_leaves_no_shard(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__string text = {0};
    while (text.length < 3u << 20) assert_ok(rrt__string_append(&text, "one two three four\n", 19, &err));
    struct rlimit old, tight;
    getrlimit(RLIMIT_FSIZE, &old);
    const size_t limits[] = {100, 600, 100000, 600000};
    for (size_t i = 0; i < 4; i++) { // in the header, in what is written last, in between
        size_t length = limits[i] < 1000 ? 1000 : text.length;
        const char *path = write_bytes("a.txt", text.data, length);
        tight = (struct rlimit){limits[i], old.rlim_max};
        void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &tight);
        rrt_status status = make(smollm, &path, 1, &err);
        setrlimit(RLIMIT_FSIZE, &old);
        signal(SIGXFSZ, handler);
        assert_int_equal(status, RRT_STATUS_IO);
        assert_non_null(strstr(err.message, "cannot write: File too large"));
        assert_non_null(strstr(err.where, "0000.tokens"));
        assert_int_equal(count_shards(), 0);
    }
    rrt__string_free(&text);
    clear_folder();
}

static int cancel_at_half(void *user, const char *stage, double done, double total)
{
    assert_string_equal(stage, "tokenize");
    assert_true(done <= total);
    *(double *)user = done;
    return done >= total / 2;
}

static void complete_shards_stay_after_a_cancellation(void **state)
{
    (void)state;
    rrt_error err = {0};
    double seen = 0;
    const rrt_progress progress = {cancel_at_half, &seen};
    const char *files[] = {write_text("a.txt", "one"), write_text("b.txt", "two two"),
                           write_text("c.txt", "three")};
    assert_fails(RRT_STATUS_CANCELLED, "cancelled",
                 rrt__shards_make(shards, smollm, files, 3, &progress, &err));
    assert_true(seen == 10);
    assert_int_equal(count_shards(), 1); // what is complete stays
    clear_folder();
}

static rrt_status open_data(rrt__dataset **dataset, size_t context, rrt_error *err)
{
    return rrt__dataset_open(dataset, shards, smollm, 448, context, err);
}

static void check_windows(const rrt_tokenizer *tokenizer, const id_list *all, size_t context)
{
    rrt_error err = {0};
    rrt__dataset *dataset;
    int32_t ids[64], targets[64], bos = rrt_tokenizer_adds_bos(tokenizer) ? rrt_tokenizer_bos(tokenizer) : -1;
    size_t shift = bos < 0, at = shift;
    assert_ok(rrt__dataset_open(&dataset, shards, tokenizer, 448, context, &err));
    assert_int_equal(rrt__dataset_tokens(dataset), all->count);
    assert_int_equal(rrt__dataset_windows(dataset), (all->count - shift) / context);
    for (size_t w = 0; w < rrt__dataset_windows(dataset); w++) {
        rrt__dataset_window(dataset, w, ids, targets);
        assert_int_equal(ids[0], bos >= 0 ? bos : all->data[w * context]);
        for (size_t i = 0; i < context; i++, at++) {
            assert_int_equal(targets[i], all->data[at]); // each token once, in order
            if (i + 1 < context) assert_int_equal(ids[i + 1], targets[i]);
        }
    }
    assert_true(all->count - at < context); // what is left over is less than a window
    rrt__dataset_close(dataset);
}

static void windows_cover_the_text_at_every_context(void **state)
{
    (void)state;
    rrt_error err = {0};
    static const char *const texts[] = {"The cat sat on the mat, and the rat ate the fat oat.", "x", "",
                                        "Twelve: 12. Thirteen: 13. Fourteen: 14."};
    rrt_tokenizer *with_bos = open_with_bos();
    const char *const files[] = {write_text("0", texts[0]), write_text("1", texts[1]),
                                 write_text("2", texts[2]), write_text("3", texts[3])};
    id_list all = encode_all(smollm, (const char *[]){texts[0], texts[1], texts[3]}, 3); // no EOS for nothing
    const rrt_tokenizer *const tokenizers[] = {smollm, with_bos};
    for (size_t t = 0; t < 2; t++) {
        assert_ok(make(tokenizers[t], files, 4, &err));
        for (size_t context = 1; context <= 40; context++) check_windows(tokenizers[t], &all, context);
    }
    // Nearly too short, and too short.
    rrt__dataset *dataset;
    assert_ok(make(smollm, files, 4, &err));
    assert_ok(open_data(&dataset, all.count - 1, &err));
    assert_int_equal(rrt__dataset_windows(dataset), 1);
    rrt__dataset_close(dataset);
    assert_fails(RRT_STATUS_ARGUMENT, "too few", open_data(&dataset, all.count, &err));
    assert_null(dataset);
    assert_fails(RRT_STATUS_ARGUMENT, "0 tokens", open_data(&dataset, 0, &err));
    assert_fails(RRT_STATUS_ARGUMENT, "too few", open_data(&dataset, SIZE_MAX, &err));
    rrt__free(all.data);
    rrt_tokenizer_close(with_bos);
    clear_folder();
}

static uint64_t fingerprint(const rrt_tokenizer *tokenizer)
{
    rrt_error err = {0};
    rrt__dataset *dataset;
    assert_ok(rrt__dataset_open(&dataset, shards, tokenizer, 448, 2, &err));
    uint64_t result = rrt__dataset_fingerprint(dataset);
    rrt__dataset_close(dataset);
    return result;
}

static void the_fingerprint_follows_the_ids_and_their_order(void **state)
{
    (void)state;
    rrt_error err = {0};
    const char *files[] = {write_text("a", "one two three"), write_text("b", "four five six")};
    const char *swapped[] = {files[1], files[0]};
    assert_ok(make(smollm, files, 2, &err));
    uint64_t first = fingerprint(smollm);
    assert_true(fingerprint(smollm) == first);
    assert_ok(make(smollm, swapped, 2, &err));
    assert_true(fingerprint(smollm) != first);
    write_text("a", "one two three."); // another id
    assert_ok(make(smollm, files, 2, &err));
    assert_true(fingerprint(smollm) != first);
    write_text("a", "one two three");
    assert_ok(make(smollm, files, 2, &err));
    assert_true(fingerprint(smollm) == first);
    clear_folder();
}

static void wrong_or_damaged_shards_are_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__dataset *dataset;
    rrt__string shard = {0};
    const char *path = write_text("a", "one two three"), *made = "shards/0000.tokens";
    assert_fails(RRT_STATUS_IO, "0000.tokens", open_data(&dataset, 2, &err)); // no folder
    assert_ok(make(smollm, &path, 1, &err));
    rrt_tokenizer *other = open_with_bos();
    assert_fails(RRT_STATUS_MISMATCH, "another tokenizer",
                 rrt__dataset_open(&dataset, shards, other, 448, 2, &err));
    rrt_tokenizer_close(other);
    assert_fails(RRT_STATUS_FORMAT, "vocabulary has 0 to 9",
                 rrt__dataset_open(&dataset, shards, smollm, 10, 2, &err));
    assert_ok(rrt__file_read(&shard, in_folder(made), &err));
    for (size_t at = 0; at < shard.length; at++) { // whatever byte is changed
        shard.data[at] ^= 0x10;
        write_bytes(made, shard.data, shard.length);
        assert_fails(RRT_STATUS_FORMAT, "0000.tokens", open_data(&dataset, 2, &err));
        assert_true(at < 16 || strstr(err.hint, "delete")); // magic and version may be of another program
        shard.data[at] ^= 0x10;
    }
    for (size_t length = 0; length < shard.length; length += 7) { // wherever it is cut off
        write_bytes(made, shard.data, length);
        assert_fails(RRT_STATUS_FORMAT, "0000.tokens", open_data(&dataset, 2, &err));
    }
    rrt__string_free(&shard);
    clear_folder();
}

// Headers whose checksum is right and whose sizes are not.
static void shard_headers_that_lie_are_refused(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__dataset *dataset;
    rrt__string shard = {0};
    const char *path = write_text("a", "one two three"), *made = "shards/0000.tokens";
    assert_ok(make(smollm, &path, 1, &err));
    assert_ok(rrt__file_read(&shard, in_folder(made), &err));
    rrt__shard_header good, bad;
    memcpy(&good, shard.data, sizeof good);
    const uint64_t counts[] = {0,
                               1,
                               good.count - 1,
                               good.count + 1,
                               UINT64_C(1) << 61,
                               UINT64_C(1) << 62,
                               UINT64_C(1) << 63,
                               (UINT64_C(1) << 62) + good.count,
                               UINT64_MAX};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        bad = good;
        bad.count = counts[i];
        bad.header_hash = rrt__hash(0, &bad, offsetof(rrt__shard_header, header_hash));
        memcpy(shard.data, &bad, sizeof bad);
        write_bytes(made, shard.data, shard.length);
        assert_fails(RRT_STATUS_FORMAT, "are announced", open_data(&dataset, 2, &err));
    }
    bad = good;
    bad.version = 3;
    memcpy(shard.data, &bad, sizeof bad);
    write_bytes(made, shard.data, shard.length);
    assert_fails(RRT_STATUS_FORMAT, "version 3", open_data(&dataset, 2, &err));
    rrt__string_free(&shard);
    clear_folder();
}

static void running_out_of_memory_leaves_no_shard(void **state)
{
    (void)state;
    rrt_error err = {0};
    rrt__dataset *dataset = NULL;
    const char *const files[] = {write_text("a.txt", "one\ntwo"),
                                 write_packed("b.jsonl.zst", "{\"text\": \"three\"}")};
    const char *first = in_folder("shards/0000.tokens");
    rrt_status status = RRT_STATUS_MEMORY;
    long n = 0;
    for (; status; n++) {
        rrt__memory_fail_after = n;
        status = make(smollm, files, 2, &err);
        rrt__memory_fail_after = -1;
        if (!status) break;
        assert_int_equal(status, RRT_STATUS_MEMORY);
        unlink(first); // or it would be kept
        assert_int_equal(count_shards(), 0);
    }
    assert_true(n > 5);
    status = RRT_STATUS_MEMORY;
    for (n = 0; status; n++) {
        rrt__memory_fail_after = n;
        status = open_data(&dataset, 2, &err);
        rrt__memory_fail_after = -1;
        if (status) assert_int_equal(status, RRT_STATUS_MEMORY);
    }
    rrt__dataset_close(dataset);
    rrt__dataset_close(NULL);
    clear_folder();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_file_gives_the_ids_of_its_documents),
        cmocka_unit_test(zstd_frames_are_read_one_after_another),
        cmocka_unit_test(few_bytes_that_stand_for_many_are_refused),
        cmocka_unit_test(byte_order_marks_line_ends_and_case_do_not_matter),
        cmocka_unit_test(a_file_longer_than_a_piece_keeps_its_ids),
        cmocka_unit_test(shards_are_kept_while_file_and_tokenizer_stay),
        cmocka_unit_test(bad_files_are_refused_with_line_and_byte),
        cmocka_unit_test(cut_off_or_damaged_zstd_is_refused),
        cmocka_unit_test(a_full_disk_leaves_no_shard),
        cmocka_unit_test(complete_shards_stay_after_a_cancellation),
        cmocka_unit_test(windows_cover_the_text_at_every_context),
        cmocka_unit_test(the_fingerprint_follows_the_ids_and_their_order),
        cmocka_unit_test(wrong_or_damaged_shards_are_refused),
        cmocka_unit_test(shard_headers_that_lie_are_refused),
        cmocka_unit_test(running_out_of_memory_leaves_no_shard),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
