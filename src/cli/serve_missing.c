// rrt serve where libmicrohttpd was not there at building.
#include "cli/cli.h"

const char *rrt__cli_server_name(void)
{
    return "none";
}

int rrt__cli_serve(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    rrt_error err = {0};
    rrt_status status = rrt__fail(&err, RRT_STATUS_UNSUPPORTED,
                                  "this rrt was built without libmicrohttpd, which serve needs");
    rrt__hint(&err, status, "install libmicrohttpd-dev and build again");
    return rrt__cli_finish(status, &err);
}
