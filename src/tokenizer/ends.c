// The tokens that end a generation. A Hugging Face model's files list their ids; if they do not, and in most
// GGUF files, which lack such a key, the tokens' texts decide, as in llama.cpp.
#include <string.h>

#include "tokenizer/tokenizer_inside.h"

static const char *const endings[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "[e~[",
    "<end_of_utterance>",
    "<｜end▁of▁sentence｜>",
    // Tokens that fill a gap in code, or separate files.
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
};

// A token that does not end a generation if the others exist: it separates the messages of a reply, or is
// plain text.
static const struct {
    const char *token, *others[2];
} exceptions[] = {
    {"<|end|>", {"<|return|>", "<|call|>"}},
    {"<|end|>", {"<|flush|>", "<|calls|>"}},
    {"</s>", {"<|tool_response>", "<|tool_response>"}},
    {"</s>", {"<|plamo:eos|>", "<|plamo:eos|>"}},
};

static bool is_text(const rrt__vocab *vocab, int32_t id, const char *text)
{
    rrt__slice other = rrt__vocab_text(vocab, id);
    return other.length == strlen(text) && memcmp(other.data, text, other.length) == 0;
}

static bool has(const rrt__vocab *vocab, const char *text)
{
    for (int32_t id = 0; id < vocab->count; id++)
        if (is_text(vocab, id, text)) return true;
    return false;
}

void rrt__tokenizer_end_at(rrt_tokenizer *tokenizer, int32_t id)
{
    if (id >= 0 && id < tokenizer->vocab.count) tokenizer->vocab.tokens[id].flags |= RRT__TOKEN_ENDS;
}

bool rrt__token_ends_by_text(const rrt__vocab *vocab, int32_t id)
{
    rrt__slice text = rrt__vocab_text(vocab, id);
    if (!text.length || !strchr("<[_", text.data[0])) return false; // they all begin like this
    size_t i = 0, count = sizeof endings / sizeof *endings;
    while (i < count && !is_text(vocab, id, endings[i])) i++;
    if (i == count) return false;
    for (i = 0; i < sizeof exceptions / sizeof *exceptions; i++)
        if (is_text(vocab, id, exceptions[i].token) && has(vocab, exceptions[i].others[0]) &&
            has(vocab, exceptions[i].others[1]))
            return false;
    return true;
}

void rrt__tokenizer_end_by_text(rrt_tokenizer *tokenizer)
{
    for (int32_t id = 0; id < tokenizer->vocab.count; id++)
        if (rrt__token_ends_by_text(&tokenizer->vocab, id)) rrt__tokenizer_end_at(tokenizer, id);
    rrt__tokenizer_end_at(tokenizer, tokenizer->eos);
}

static rrt_status end_at_one(rrt_tokenizer *tokenizer, const json_t *id, rrt_error *err)
{
    json_t *holder = json_pack("{s:O}", "eos_token_id", id);
    int64_t value;
    rrt_status status = holder
                            ? rrt__json_int(holder, "eos_token_id", 0, INT32_MAX, &value, err)
                            : rrt__fail(err, RRT_STATUS_MEMORY, "out of memory: the tokens that end a text");
    json_decref(holder);
    if (!status && value < tokenizer->vocab.count) rrt__tokenizer_end_at(tokenizer, (int32_t)value);
    return status;
}

rrt_status rrt__tokenizer_end_at_listed(rrt_tokenizer *tokenizer, const json_t *ids, rrt_error *err)
{
    rrt__vocab *vocab = &tokenizer->vocab;
    for (int32_t id = 0; id < vocab->count; id++) vocab->tokens[id].flags &= ~(unsigned)RRT__TOKEN_ENDS;
    rrt__tokenizer_end_at(tokenizer, tokenizer->eos);
    if (!json_is_array(ids)) return end_at_one(tokenizer, ids, err);
    for (size_t i = 0; i < json_array_size(ids); i++)
        RRT__TRY(end_at_one(tokenizer, json_array_get(ids, i), err));
    return RRT_STATUS_OK;
}
