// Dicts: entries in order, with a hash index if there are many. Also converts JSON to values.
#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "template/run.h"

enum { SMALL = 8 };

rrt_status rrt__dict_new(rrt__run *run, rrt__value *out)
{
    rrt__dict *dict;
    RRT__TRY(rrt__pool_alloc(&run->pool, &dict, 1, sizeof *dict, run->err));
    *out = (rrt__value){.kind = RRT__VALUE_DICT, .dict = dict};
    return RRT_STATUS_OK;
}

static rrt_status hash_of(rrt__run *run, const rrt__value *key, uint64_t *out)
{
    double real;
    if (rrt__is_text(key)) {
        RRT__TRY(rrt__work(run, key->text.length));
        *out = rrt__hash(key->text.length, rrt__text_data(key), key->text.length);
    } else if (rrt__is_number(key)) { // equal numbers are equal keys, whatever their types
        real = rrt__real(key);
        *out = rrt__hash(1, &real, sizeof real);
    } else if (key->kind == RRT__VALUE_TUPLE) {
        *out = key->sequence->count;
        RRT__TRY(rrt__enter(run));
        for (size_t i = 0; i < key->sequence->count; i++) {
            uint64_t one;
            RRT__TRY(hash_of(run, &key->sequence->items[i], &one));
            *out = rrt__hash(*out, &one, sizeof one);
        }
        rrt__leave(run);
    } else if (key->kind == RRT__VALUE_LIST || key->kind == RRT__VALUE_DICT) {
        return rrt__run_fail(run, RRT_STATUS_FORMAT, "a %s as a key of a dict", rrt__type_name(key));
    } else {
        *out = key->kind;
    }
    return RRT_STATUS_OK;
}

// Finds the slot of the key's entry, or a free one.
static rrt_status find_slot(rrt__run *run, const rrt__dict *dict, const rrt__value *key, size_t *slot)
{
    uint64_t hash;
    bool same = false;
    RRT__TRY(hash_of(run, key, &hash));
    for (*slot = (size_t)hash & (dict->n_slots - 1); dict->slots[*slot];
         *slot = (*slot + 1) & (dict->n_slots - 1)) {
        RRT__TRY(rrt__equal(run, &dict->entries[dict->slots[*slot] - 1].key, key, &same));
        if (same) break;
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__dict_find(rrt__run *run, const rrt__dict *dict, const rrt__value *key, rrt__value **out)
{
    size_t slot;
    uint64_t unused;
    bool same = false;
    *out = NULL;
    if (dict->slots) {
        RRT__TRY(find_slot(run, dict, key, &slot));
        if (dict->slots[slot]) *out = &dict->entries[dict->slots[slot] - 1].value;
        return RRT_STATUS_OK;
    }
    if (!rrt__is_text(key)) RRT__TRY(hash_of(run, key, &unused)); // fails for values that cannot be keys
    for (size_t i = 0; i < dict->count; i++) {
        RRT__TRY(rrt__equal(run, &dict->entries[i].key, key, &same));
        if (same) {
            *out = &dict->entries[i].value;
            break;
        }
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__dict_get(rrt__run *run, const rrt__dict *dict, const char *key, rrt__value **out)
{
    rrt__buffer buffer = {.data = (char *)key, .used = (uint32_t)strlen(key)};
    const rrt__value text = {.kind = RRT__VALUE_TEXT, .text = {&buffer, 0, buffer.used}};
    return rrt__dict_find(run, dict, &text, out);
}

static rrt_status index_all(rrt__run *run, rrt__dict *dict)
{
    dict->n_slots = 32;
    while (dict->n_slots < dict->capacity * 2) dict->n_slots *= 2;
    RRT__TRY(rrt__pool_alloc(&run->pool, &dict->slots, dict->n_slots, sizeof *dict->slots, run->err));
    for (size_t i = 0; i < dict->count; i++) {
        size_t slot;
        RRT__TRY(find_slot(run, dict, &dict->entries[i].key, &slot));
        dict->slots[slot] = (uint32_t)i + 1;
    }
    return RRT_STATUS_OK;
}

static rrt_status grow(rrt__run *run, rrt__dict *dict)
{
    rrt__entry *bigger;
    size_t capacity = dict->capacity * 2 + 4;
    RRT__TRY(rrt__pool_alloc(&run->pool, &bigger, capacity, sizeof *bigger, run->err));
    if (dict->count) memcpy(bigger, dict->entries, dict->count * sizeof *bigger);
    dict->entries = bigger;
    dict->capacity = capacity;
    return capacity > SMALL ? index_all(run, dict) : RRT_STATUS_OK;
}

rrt_status rrt__dict_set(rrt__run *run, rrt__dict *dict, rrt__value key, rrt__value value)
{
    rrt__value *there;
    RRT__TRY(rrt__dict_find(run, dict, &key, &there));
    if (there) {
        *there = value;
        return RRT_STATUS_OK;
    }
    if (dict->count == dict->capacity) RRT__TRY(grow(run, dict));
    dict->entries[dict->count++] = (rrt__entry){key, value};
    if (dict->slots) {
        size_t slot;
        RRT__TRY(find_slot(run, dict, &key, &slot));
        dict->slots[slot] = (uint32_t)dict->count;
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__dict_items(rrt__run *run, const rrt__dict *dict, rrt__kind kind, rrt__value *out)
{
    rrt__value pair;
    RRT__TRY(rrt__value_list_new(run, kind, dict->count, out));
    for (size_t i = 0; i < dict->count; i++) {
        RRT__TRY(rrt__value_list_new(run, RRT__VALUE_TUPLE, 2, &pair));
        RRT__TRY(rrt__value_list_add(run, &pair, dict->entries[i].key));
        RRT__TRY(rrt__value_list_add(run, &pair, dict->entries[i].value));
        RRT__TRY(rrt__value_list_add(run, out, pair));
    }
    return RRT_STATUS_OK;
}

// --- JSON -----------------------------------------------------------------------------------------------

static bool is_word(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_letter && c != '_' && c != '-') return false;
    }
    return true;
}

static rrt_status dict_of_json(rrt__run *run, const json_t *json, unsigned char mark, const char *word_key,
                               rrt__value *out)
{
    const char *name;
    json_t *member;
    RRT__TRY(rrt__dict_new(run, out));
    json_object_foreach((json_t *)json, name, member)
    {
        rrt__value key, value;
        unsigned char of_member = mark;
        if (word_key && strcmp(name, word_key) == 0 && json_is_string(member) &&
            is_word(json_string_value(member), json_string_length(member)))
            of_member = 0;
        RRT__TRY(rrt__text_borrow(run, name, strlen(name), mark, &key));
        RRT__TRY(rrt__value_of_json(run, member, of_member, word_key, &value));
        RRT__TRY(rrt__dict_set(run, out->dict, key, value));
    }
    return RRT_STATUS_OK;
}

static rrt_status list_of_json(rrt__run *run, const json_t *json, unsigned char mark, const char *word_key,
                               rrt__value *out)
{
    size_t i;
    const json_t *item;
    RRT__TRY(rrt__value_list_new(run, RRT__VALUE_LIST, json_array_size(json), out));
    json_array_foreach(json, i, item)
    {
        rrt__value value;
        RRT__TRY(rrt__value_of_json(run, item, mark, word_key, &value));
        RRT__TRY(rrt__value_list_add(run, out, value));
    }
    return RRT_STATUS_OK;
}

rrt_status rrt__value_of_json(rrt__run *run, const json_t *json, unsigned char mark, const char *word_key,
                              rrt__value *out)
{
    rrt_status status = rrt__enter(run);
    if (!status) status = rrt__work(run, 1);
    if (status) return status;
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        status = dict_of_json(run, json, mark, word_key, out);
        break;
    case JSON_ARRAY:
        status = list_of_json(run, json, mark, word_key, out);
        break;
    case JSON_STRING:
        status = rrt__text_borrow(run, json_string_value(json), json_string_length(json), mark, out);
        break;
    case JSON_INTEGER:
        *out = rrt__int(json_integer_value(json));
        break;
    case JSON_REAL:
        *out = rrt__float(json_real_value(json));
        // JSON readers have already rounded whole numbers of this length.
        if (fabs(out->real) >= 0x1p63)
            status = rrt__run_fail(run, RRT_STATUS_UNSUPPORTED, "a number of more than 64 bits in the JSON");
        break;
    case JSON_NULL:
        *out = rrt__none();
        break;
    default:
        *out = rrt__bool(json_is_true(json));
        break;
    }
    rrt__leave(run);
    return status;
}
