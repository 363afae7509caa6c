// Reads and writes chat templates; they are kept in tokenizer_config.json's "chat_template".
#ifndef RRT__TOKENIZER_CHAT_TEMPLATES_H
#define RRT__TOKENIZER_CHAT_TEMPLATES_H

#include "base/json.h"
#include "format/gguf.h"
#include "format/gguf_write.h"

// From chat_template.jinja and additional_chat_templates/NAME.jinja, which override config.
rrt_status rrt__chat_templates_of_folder(json_t *config, const char *folder, rrt_error *err);
// From tokenizer.chat_template, and tokenizer.chat_template.NAME for the names in tokenizer.chat_templates.
rrt_status rrt__chat_templates_of_gguf(json_t *config, const rrt__gguf *gguf, rrt_error *err);
rrt_status rrt__chat_templates_to_gguf(const json_t *config, rrt__gguf_writer *writer, rrt_error *err);

#endif
