// A SentencePiece model (tokenizer.model) as it is written.
#ifndef RRT__SENTENCEPIECE_H
#define RRT__SENTENCEPIECE_H

#include "format/gguf.h"

typedef struct rrt__model_piece {
    rrt__slice text; // in the model's bytes
    float score;
    int64_t type; // RRT__TYPE_NORMAL …
} rrt__model_piece;

typedef struct rrt__sentencepiece {
    rrt__model_piece *pieces; // by id
    size_t count, capacity;
    int64_t kind; // 1 unigram, 2 BPE, 3 words, 4 characters
    bool falls_back;
    bool marks_ends;     // spaces belong to the word before them
    rrt__slice bos, eos; // texts of control pieces
    bool adds_space, strips_spaces, marks_spaces;
    rrt__slice normalization, charsmap; // how characters are normalised: name and table
    bool changes_output;                // a denormalizer
} rrt__sentencepiece;

// Reads a model. FORMAT for bytes that are none, UNSUPPORTED, by name, for one with settings that change ids
// and are not known. Close it even then.
rrt_status rrt__sentencepiece_read(rrt__sentencepiece *out, const char *data, size_t length, rrt_error *err);
void rrt__sentencepiece_close(rrt__sentencepiece *model);

#endif
