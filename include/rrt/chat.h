// Conversations as token ids, in the form that a model was trained on.
#ifndef RRT_CHAT_H
#define RRT_CHAT_H

#include "rrt/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rrt_chat_message {
    const char *role; // "system", "user" or "assistant"
    const char *content;
} rrt_chat_message;

// The form of a name ("chatml", "gemma", "llama2", "llama3", "zephyr"), or, for NULL, that which the model's
// own chat template has the marks of. *form is static. ARGUMENT for another name, UNSUPPORTED if the model
// has no template or one of no known form; both list the known ones.
RRT_API rrt_status rrt_chat_find(const rrt_tokenizer *tokenizer, const char *name, const char **form,
                                 rrt_error *err);

// Ids of messages[0..count) in a form (as for rrt_chat_find), up to where the assistant's next reply begins.
// A message's content is plain text: special tokens written in it stay text. continues: the messages follow a
// reply that was generated, and what ends that reply comes first; else BOS, where the tokenizer adds one, and
// the system message that the model's template has where there is none do. ARGUMENT for an unknown role, a
// system message that is not the first, and where there is no message. Free *ids with rrt_ids_free.
RRT_API rrt_status rrt_chat_encode(const rrt_tokenizer *tokenizer, const char *name,
                                   const rrt_chat_message *messages, size_t count, int continues,
                                   int32_t **ids, size_t *n_ids, rrt_error *err);

#ifdef __cplusplus
}
#endif
#endif
