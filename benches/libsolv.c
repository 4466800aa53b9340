/* The peer of `benches/compare --only libsolv`: a plain program on libsolv, with its own cache.
 *
 *   libsolv CACHE.solv NAME...
 *
 * Loads the cache, asks for the packages with dnf's settings, orders the transaction, and prints how many packages there are
 * and the seconds of each part. The cache is what rpmmd2solv makes of primary.xml.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <solv/pool.h>
#include <solv/repo.h>
#include <solv/repo_solv.h>
#include <solv/solver.h>
#include <solv/transaction.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void fail(const char *what, const char *which)
{
    fprintf(stderr, "libsolv: %s: %s\n", what, which);
    exit(1);
}

int main(int argc, char **argv)
{
    double started = now();
    Pool *pool = pool_create();
    pool_setdisttype(pool, DISTTYPE_RPM);
    pool_setarch(pool, "x86_64");
    FILE *cache = argc > 2 ? fopen(argv[1], "r") : NULL;
    if (!cache)
        fail("no cache and names, or it cannot be read", argc > 1 ? argv[1] : "");
    Repo *repo = repo_create(pool, "large");
    if (repo_add_solv(repo, cache, 0))
        fail("cannot load", pool_errstr(pool));
    fclose(cache);
    pool_addfileprovides(pool);
    pool_createwhatprovides(pool);
    double loaded = now();

    Queue jobs;
    queue_init(&jobs);
    for (int place = 2; place < argc; place++)
        queue_push2(&jobs, SOLVER_INSTALL | SOLVER_SOLVABLE_NAME, pool_str2id(pool, argv[place], 1));
    Solver *solver = solver_create(pool);
    solver_set_flag(solver, SOLVER_FLAG_IGNORE_RECOMMENDED, 1);
    solver_set_flag(solver, SOLVER_FLAG_BEST_OBEY_POLICY, 1);
    solver_set_flag(solver, SOLVER_FLAG_YUM_OBSOLETES, 1);
    if (solver_solve(solver, &jobs))
        fail("cannot be solved", solver_problem2str(solver, 1));
    Transaction *transaction = solver_create_transaction(solver);
    transaction_order(transaction, 0);
    double solved = now();
    printf("{\"packages\": %d, \"load\": %f, \"solve\": %f}\n", transaction->steps.count, loaded - started, solved - loaded);
    return 0;
}
