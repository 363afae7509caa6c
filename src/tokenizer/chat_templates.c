// Reads a model's chat templates from all their locations into tokenizer_config.json's "chat_template": a
// string, or a list of {"name", "template"} for several. Also converts them back to GGUF.
#include "tokenizer/chat_templates.h"

#include <string.h>

static rrt_status fail_memory(rrt_error *err)
{
    return rrt__fail(err, RRT_STATUS_MEMORY, "out of memory for chat templates");
}

// config's own templates as a list.
static json_t *as_list(json_t *config)
{
    json_t *own = json_object_get(config, "chat_template"), *list = json_array();
    if (json_is_array(own)) {
        json_decref(list);
        return own;
    }
    if (json_is_string(own))
        json_array_append_new(list, json_pack("{s:s, s:O}", "name", "default", "template", own));
    json_object_set_new(config, "chat_template", list);
    return list;
}

// Replaces a template of the same name.
static rrt_status add(json_t *config, const char *name, size_t name_length, const char *text, size_t length,
                      rrt_error *err)
{
    json_t *entry, *list;
    size_t i;
    json_t *template = json_stringn(text, length);
    if (!template) return rrt__fail(err, RRT_STATUS_FORMAT, "the chat template is not valid UTF-8");
    bool is_default = name_length == 7 && memcmp(name, "default", 7) == 0;
    if (is_default && !json_is_array(json_object_get(config, "chat_template")))
        return json_object_set_new(config, "chat_template", template) ? fail_memory(err) : RRT_STATUS_OK;
    list = as_list(config);
    entry = json_pack("{s:s%, s:o}", "name", name, name_length, "template", template);
    if (!entry) return fail_memory(err);
    json_array_foreach(list, i, template)
    {
        if (!json_equal(json_object_get(template, "name"), json_object_get(entry, "name"))) continue;
        json_array_remove(list, i);
        break;
    }
    return json_array_append_new(list, entry) ? fail_memory(err) : RRT_STATUS_OK;
}

// --- folders --------------------------------------------------------------------------------------------

static rrt_status add_file(json_t *config, const char *path, const char *name, size_t name_length,
                           rrt_error *err)
{
    rrt__map text;
    RRT__TRY(rrt__map_open(&text, path, err));
    rrt_status status =
        add(config, name, name_length, text.data ? (const char *)text.data : "", text.size_bytes, err);
    rrt__map_close(&text);
    return status ? rrt__at(err, status, "%s", path) : RRT_STATUS_OK;
}

typedef struct more {
    json_t *config;
    const char *folder;
} more;

static rrt_status add_one_more(void *user, const char *name, rrt_error *err)
{
    static const char end[] = ".jinja";
    const more *m = user;
    char path[4096];
    size_t length = strlen(name), end_length = strlen(end);
    if (length <= end_length || strcmp(name + length - end_length, end) != 0) return RRT_STATUS_OK;
    RRT__TRY(rrt__path_join(path, m->folder, name, err));
    return add_file(m->config, path, name, length - end_length, err);
}

rrt_status rrt__chat_templates_of_folder(json_t *config, const char *folder, rrt_error *err)
{
    char path[4096];
    RRT__TRY(rrt__path_join(path, folder, "chat_template.jinja", err));
    if (rrt__path_exists(path)) RRT__TRY(add_file(config, path, "default", 7, err));
    RRT__TRY(rrt__path_join(path, folder, "additional_chat_templates", err));
    more m = {config, path};
    return rrt__path_is_folder(path) ? rrt__folder_each(path, add_one_more, &m, err) : RRT_STATUS_OK;
}

// --- GGUF -----------------------------------------------------------------------------------------------

static const char key[] = "tokenizer.chat_template", names_key[] = "tokenizer.chat_templates";

typedef struct reading {
    json_t *config;
    const rrt__gguf *gguf;
} reading;

static rrt_status add_named(void *user, size_t index, rrt__slice name, rrt_error *err)
{
    const reading *r = user;
    char full[256];
    rrt__slice text;
    (void)index;
    int length =
        snprintf(full, sizeof full, "%s.%.*s", key, (int)(name.length < 200 ? name.length : 200), name.data);
    if (length >= (int)sizeof full || !rrt__gguf_has(r->gguf, full)) return RRT_STATUS_OK; // the default
    RRT__TRY(rrt__gguf_string(r->gguf, full, &text, err));
    rrt_status status = add(r->config, name.data, name.length, text.data, text.length, err);
    return status ? rrt__at(err, status, "%s", full) : RRT_STATUS_OK;
}

rrt_status rrt__chat_templates_of_gguf(json_t *config, const rrt__gguf *gguf, rrt_error *err)
{
    reading r = {config, gguf};
    rrt__slice text;
    if (rrt__gguf_has(gguf, key)) {
        RRT__TRY(rrt__gguf_string(gguf, key, &text, err));
        rrt_status status = add(config, "default", 7, text.data, text.length, err);
        if (status) return rrt__at(err, status, "%s", key);
    }
    return rrt__gguf_has(gguf, names_key) ? rrt__gguf_each_string(gguf, names_key, add_named, &r, err)
                                          : RRT_STATUS_OK;
}

static rrt_status write_named(const json_t *list, rrt__gguf_writer *w, rrt_error *err)
{
    const json_t *entry;
    size_t i;
    json_array_foreach(list, i, entry)
    {
        char full[256];
        const char *name = json_string_value(json_object_get(entry, "name"));
        const json_t *text = json_object_get(entry, "template");
        if (!name || !json_is_string(text)) continue;
        snprintf(full, sizeof full, strcmp(name, "default") == 0 ? "%s" : "%s.%.200s", key, name);
        RRT__TRY(rrt__gguf_write_string(w, full, json_string_value(text), json_string_length(text), err));
    }
    return RRT_STATUS_OK;
}

static bool is_named(const json_t *entry)
{
    const char *name = json_string_value(json_object_get(entry, "name"));
    return name && strcmp(name, "default") != 0 && json_is_string(json_object_get(entry, "template"));
}

rrt_status rrt__chat_templates_to_gguf(const json_t *config, rrt__gguf_writer *w, rrt_error *err)
{
    const json_t *own = json_object_get(config, "chat_template"), *entry;
    size_t i, count = 0;
    if (json_is_string(own))
        return rrt__gguf_write_string(w, key, json_string_value(own), json_string_length(own), err);
    json_array_foreach(own, i, entry) count += is_named(entry);
    if (count) RRT__TRY(rrt__gguf_write_strings(w, names_key, count, err));
    json_array_foreach(own, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (is_named(entry)) RRT__TRY(rrt__gguf_write_item(w, name, strlen(name), err));
    }
    return write_named(own, w, err);
}
