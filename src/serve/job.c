#include "serve/job.h"

void rrt__job_free(rrt__job *job)
{
    if (!job) return;
    for (size_t i = 0; i < job->n_choices; i++) {
        rrt__choice *c = &job->choices[i];
        rrt__free(c->prompt);
        rrt__string_free(&c->echo);
        rrt__reply_text_free(&c->text);
        json_decref(c->logprobs);
        json_decref(c->depths);
    }
    rrt__free(job->choices);
    json_decref(job->body);
    rrt__free(job);
}
