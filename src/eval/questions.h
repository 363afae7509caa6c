// Multiple-choice questions from .jsonl files (docs/FORMATS.md).
#ifndef RRT__QUESTIONS_H
#define RRT__QUESTIONS_H

#include "base/memory.h"
#include "rrt/eval.h"

typedef enum rrt__question_form {
    RRT__QUESTION_CHOICES,  // one context, several continuations
    RRT__QUESTION_CONTEXTS, // several contexts, one continuation after the blank (winogrande)
    RRT__QUESTION_TARGET,   // one context, and the continuation to predict
} rrt__question_form;

// A context and one continuation. The context ends before its trailing white space.
typedef struct rrt__answer_text {
    const char *text;
    size_t length, context_length; // bytes
} rrt__answer_text;

typedef struct rrt__question {
    size_t line;         // in the file, from 1
    size_t first, count; // answers
    size_t gold;         // from 0
} rrt__question;

// Zero-initialised is empty and may be freed.
typedef struct rrt__questions {
    rrt__question *items;
    size_t count, capacity;
    rrt__answer_text *texts;  // [n_answers]
    rrt_task_answer *answers; // [n_answers]; only characters are set here
    size_t n_answers, texts_capacity, answers_capacity;
    rrt__arena arena; // the texts
} rrt__questions;

// Reads the first `limit` questions (0: all). FORMAT with the line if one is damaged, or if there are none.
rrt_status rrt__questions_read(rrt__questions *questions, const char *path, rrt__question_form form,
                               size_t limit, rrt_error *err);
void rrt__questions_free(rrt__questions *questions);

#endif
