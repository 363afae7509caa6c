#include "train/shards.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/destination.h"
#include "base/hash.h"
#include "base/progress.h"
#include "tokenizer/chat.h"
#include "tokenizer/tokenizer.h"
#include "train/documents.h"

enum {
    VERSION = 1,
    VERSION_UNLEARNT = 2,  // some ids have the flag
    PIECE_BYTES = 4 << 20, // of text per encode call
    BLOCK_IDS = 1 << 16,   // per write; even, so that the hash can continue across blocks
};
static const char magic[8] = {'R', 'R', 'T', 'T', 'O', 'K', 'E', 'N'};
_Static_assert(sizeof(rrt__shard_header) == 512, "the header is written as it is");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "ids are mapped as they are");

static uint64_t hash_header(const rrt__shard_header *header)
{
    return rrt__hash(0, header, offsetof(rrt__shard_header, header_hash));
}

uint64_t rrt__tokenizer_fingerprint(const rrt_tokenizer *tokenizer)
{
    int32_t special[4] = {rrt_tokenizer_vocab(tokenizer), rrt_tokenizer_bos(tokenizer),
                          rrt_tokenizer_eos(tokenizer), rrt_tokenizer_adds_bos(tokenizer)};
    uint64_t hash = rrt__hash(0, special, sizeof special);
    for (int32_t id = 0; id < special[0]; id++) {
        size_t length;
        const char *bytes = rrt_token_bytes(tokenizer, id, &length);
        hash = rrt__hash(hash, &length, sizeof length);
        hash = rrt__hash(hash, bytes, length);
    }
    return hash;
}

rrt_status rrt__shard_path(char path[4096], const char *folder, size_t index, rrt_error *err)
{
    char name[32];
    snprintf(name, sizeof name, "%04zu.tokens", index);
    return rrt__path_join(path, folder, name, err);
}

// --- reading

static rrt_status check_header(const rrt__map *map, const rrt__shard_header *header, rrt_error *err)
{
    if (map->size_bytes < sizeof *header || memcmp(header->magic, magic, sizeof magic) != 0)
        return rrt__fail(err, RRT_STATUS_FORMAT, "not a shard of token ids: it does not begin with RRTTOKEN");
    if (header->version != VERSION && header->version != VERSION_UNLEARNT)
        return rrt__fail(err, RRT_STATUS_FORMAT, "shard version %llu (byte 8): %d and %d are read",
                         (unsigned long long)header->version, VERSION, VERSION_UNLEARNT);
    if (hash_header(header) != header->header_hash)
        return rrt__fail(err, RRT_STATUS_FORMAT, "the shard's header is damaged: its checksum differs");
    size_t room = map->size_bytes - sizeof *header;
    if (room % sizeof(uint32_t) == 0 && room / sizeof(uint32_t) == header->count) return RRT_STATUS_OK;
    return rrt__fail(err, RRT_STATUS_FORMAT, "%zu bytes of ids, but %llu ids are announced (byte 40)", room,
                     (unsigned long long)header->count);
}

rrt_status rrt__shard_map(rrt__map *map, const rrt__shard_header **header, const char *path, rrt_error *err)
{
    RRT__TRY(rrt__map_open(map, path, err));
    *header = (const rrt__shard_header *)map->data;
    rrt_status status = check_header(map, *header, err);
    if (!status) return RRT_STATUS_OK;
    rrt__map_close(map);
    rrt__hint(err, status, "delete it and run again: it is made anew");
    return rrt__at(err, status, "%s", path);
}

// --- writing

typedef struct writer {
    const char *path;
    FILE *file;
    rrt__shard_header header;
    uint32_t *block; // [BLOCK_IDS]
    size_t n_block;
} writer;

static rrt_status flush(writer *w, rrt_error *err)
{
    w->header.ids_hash = rrt__hash(w->header.ids_hash, w->block, w->n_block * sizeof *w->block);
    if (fwrite(w->block, sizeof *w->block, w->n_block, w->file) != w->n_block)
        return rrt__at(err, rrt__fail_errno(err, "cannot write"), "%s", w->path);
    w->header.count += w->n_block;
    w->n_block = 0;
    return RRT_STATUS_OK;
}

// learnt: flags by id; NULL: all count as targets.
static rrt_status append(writer *w, const int32_t *ids, const unsigned char *learnt, size_t count,
                         rrt_error *err)
{
    for (size_t i = 0; i < count; i++) {
        bool is_learnt = !learnt || learnt[i];
        w->block[w->n_block++] = (uint32_t)ids[i] | (is_learnt ? 0 : RRT__UNLEARNT);
        if (!is_learnt) w->header.version = VERSION_UNLEARNT;
        if (w->n_block == BLOCK_IDS) RRT__TRY(flush(w, err));
    }
    return RRT_STATUS_OK;
}

// The work on all files; done and total are bytes of the files on disk.
typedef struct maker {
    const rrt_tokenizer *tokenizer;
    uint64_t fingerprint;
    const rrt_progress *progress;
    size_t done, total;
    rrt_chat *chat; // opened at the first conversation
} maker;

static rrt_status report(const maker *m, size_t done, rrt_error *err)
{
    return rrt__progress_report(m->progress, "tokenize", (double)done, (double)m->total, err);
}

static rrt_status encode_text(const maker *m, const rrt__piece *piece, writer *w, rrt_error *err)
{
    int32_t eos = rrt_tokenizer_eos(m->tokenizer), *ids;
    size_t count;
    RRT__TRY(rrt_encode(m->tokenizer, piece->text, piece->length, NULL, &ids, &count, err));
    rrt_status status = append(w, ids, NULL, count, err);
    rrt_ids_free(ids);
    if (!status && piece->ends_document && eos >= 0) status = append(w, &eos, NULL, 1, err);
    return status;
}

typedef struct taking {
    writer *writer;
    int32_t eos;
} taking;

// The EOS after a conversation ends the document: it is not the assistant's text.
static rrt_status take_conversation(void *user, const rrt_chat_prompt *document, rrt_error *err)
{
    const taking *t = user;
    static const unsigned char unlearnt;
    RRT__TRY(append(t->writer, document->ids, document->replies, document->n_ids, err));
    return t->eos >= 0 ? append(t->writer, &t->eos, &unlearnt, 1, err) : RRT_STATUS_OK;
}

static rrt_status encode_conversation(maker *m, const json_t *line, writer *w, rrt_error *err)
{
    taking t = {w, rrt_tokenizer_eos(m->tokenizer)};
    const rrt__render_options options = {.tools = json_object_get(line, "tools"),
                                         .documents = json_object_get(line, "documents"),
                                         .arguments = json_object_get(line, "chat_template_kwargs"),
                                         .no_bos = true}; // windows start with BOS
    json_t *messages;
    if (!m->chat) RRT__TRY(rrt_chat_open(&m->chat, m->tokenizer, NULL, err));
    RRT__TRY(rrt__chat_adapt(m->chat, json_object_get(line, "messages"), true, &messages, err));
    rrt_status status = rrt__chat_learn(m->chat, messages, &options, take_conversation, &t, err);
    json_decref(messages);
    return status;
}

static rrt_status encode(maker *m, rrt__documents *documents, writer *w, rrt_error *err)
{
    for (rrt__piece piece;;) {
        RRT__TRY(rrt__documents_next(documents, &piece, err));
        if (piece.length == 0 && !piece.conversation) return flush(w, err);
        rrt_status status = piece.conversation ? encode_conversation(m, piece.conversation, w, err)
                                               : encode_text(m, &piece, w, err);
        if (status == RRT_STATUS_ARGUMENT) status = err->status = RRT_STATUS_FORMAT; // the file is wrong
        if (status) return rrt__at(err, status, "%s: before line %zu", documents->path, documents->line);
        RRT__TRY(report(m, m->done + documents->source.at, err));
    }
}

static rrt_status write_content(maker *m, rrt__documents *documents, writer *w, rrt_error *err)
{
    static const rrt__shard_header blank;
    fwrite(&blank, sizeof blank, 1, w->file);
    RRT__TRY(rrt__alloc(&w->block, BLOCK_IDS, sizeof *w->block, "a block of ids", err));
    rrt_status status = encode(m, documents, w, err);
    rrt__free(w->block);
    RRT__TRY(status);
    // Writes the header last, over zeros: even the temporary file never looks complete too early.
    w->header.header_hash = hash_header(&w->header);
    if (fseek(w->file, 0, SEEK_SET) != 0)
        return rrt__at(err, rrt__fail_errno(err, "cannot write"), "%s", w->path);
    fwrite(&w->header, sizeof w->header, 1, w->file);
    return RRT_STATUS_OK;
}

static rrt_status write_shard(maker *m, rrt__documents *documents, writer *w, rrt_error *err)
{
    w->file = fopen(w->path, "wb");
    if (!w->file) return rrt__at(err, rrt__fail_errno(err, "cannot create"), "%s", w->path);
    rrt_status status = write_content(m, documents, w, err);
    if (!status) return rrt__file_finish(w->file, w->path, err);
    fclose(w->file);
    return status;
}

static bool is_made(const rrt__shard_header *wanted, const char *path)
{
    rrt__map map;
    const rrt__shard_header *header;
    if (rrt__shard_map(&map, &header, path, NULL)) return false;
    bool same = header->tokenizer == wanted->tokenizer && header->source_bytes == wanted->source_bytes &&
                header->source_hash == wanted->source_hash &&
                memcmp(header->source, wanted->source, sizeof wanted->source) == 0;
    rrt__map_close(&map);
    return same;
}

static void describe_source(rrt__shard_header *header, const maker *m, const rrt__documents *documents)
{
    const rrt__map *map = &documents->source.map;
    const char *slash = strrchr(documents->path, '/'), *name = slash ? slash + 1 : documents->path;
    memcpy(header->magic, magic, sizeof magic);
    header->version = VERSION;
    header->tokenizer = m->fingerprint;
    header->source_bytes = map->size_bytes;
    header->source_hash = rrt__hash(0, map->data, map->size_bytes);
    // A conversation's ids also depend on the chat template.
    const char *chat_template = rrt__tokenizer_chat_template(m->tokenizer);
    if (documents->is_jsonl && chat_template)
        header->source_hash = rrt__hash(header->source_hash, chat_template, strlen(chat_template));
    size_t length = strlen(name);
    memcpy(header->source, name, length < sizeof header->source ? length : sizeof header->source);
}

static rrt_status make_shard(maker *m, const char *path, const char *file, rrt_error *err)
{
    rrt__documents documents = {0};
    rrt__destination destination = {0};
    writer w = {.path = destination.temporary};
    rrt_status status;
    RRT__GOTO(rrt__documents_open(&documents, file, m->tokenizer, PIECE_BYTES, err));
    describe_source(&w.header, m, &documents);
    if (!is_made(&w.header, path)) {
        RRT__GOTO(rrt__destination_open(&destination, path, RRT__DESTINATION_FILE, true, err));
        RRT__GOTO(write_shard(m, &documents, &w, err));
        RRT__GOTO(rrt__destination_commit(&destination, err));
    }
    m->done += documents.source.map.size_bytes;
    RRT__GOTO(report(m, m->done, err));
done:
    if (status) rrt__destination_discard(&destination);
    rrt__documents_close(&documents);
    return status;
}

static rrt_status measure(maker *m, const char *const *files, size_t n_files, rrt_error *err)
{
    if (n_files == 0) return rrt__fail(err, RRT_STATUS_ARGUMENT, "no file of text was named");
    for (size_t i = 0; i < n_files; i++) {
        rrt__map map;
        RRT__TRY(rrt__map_open(&map, files[i], err));
        m->total += map.size_bytes;
        rrt__map_close(&map);
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__shards_make(const char *folder, const rrt_tokenizer *tokenizer, const char *const *files,
                            size_t n_files, const rrt_progress *progress, rrt_error *err)
{
    maker m = {.tokenizer = tokenizer, .progress = progress};
    char path[4096];
    RRT__TRY(measure(&m, files, n_files, err)); // reports a missing file before the long work
    m.fingerprint = rrt__tokenizer_fingerprint(tokenizer);
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return rrt__at(err, rrt__fail_errno(err, "cannot create the folder"), "%s", folder);
    rrt_status status = RRT_STATUS_OK;
    for (size_t i = 0; !status && i < n_files; i++) {
        status = rrt__shard_path(path, folder, i, err);
        if (!status) status = make_shard(&m, path, files[i], err);
    }
    rrt_chat_close(m.chat);
    RRT__TRY(status);
    // Removes shards of an earlier run with more files.
    for (size_t i = n_files;; i++) {
        RRT__TRY(rrt__shard_path(path, folder, i, err));
        if (unlink(path) == 0) continue;
        return errno == ENOENT ? RRT_STATUS_OK
                               : rrt__at(err, rrt__fail_errno(err, "cannot remove"), "%s", path);
    }
}
