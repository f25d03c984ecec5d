/* The thread pool: started on first use, asleep when idle, recreated after a fork.
 *
 * Tasks are claimed one at a time from a ticket that holds the job number and the next task. A worker that wakes up
 * late therefore cannot claim a task of a finished job, and no one has to wait for it. Workers spin briefly before
 * they sleep, because the next kernel of a forward pass follows within microseconds. Only one job runs at a time; a
 * caller that finds the pool busy runs its tasks itself.
 *
 * In WebAssembly, a module cannot start threads; a page that is cross-origin isolated adds web workers
 * (web/static/threads.js). Each has its own instance of this module, with static data of its own, so that it gets the
 * address of the pool of Python's instance.
 */
#include "kernels.h"

#include <stdatomic.h>
#include <stdlib.h>

#if defined(__EMSCRIPTEN__) /* only Python's instance of the module uses it */
#define THREAD_LOCAL
#elif defined(_MSC_VER)
#define THREAD_LOCAL __declspec(thread)
#else
#define THREAD_LOCAL _Thread_local
#endif

static THREAD_LOCAL int failed;

int apr_take_failure(void) {
    int result = failed;
    failed = 0;
    return result;
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

typedef struct buffer {
    void *raw;
    size_t size;
} buffer;

static void *aligned(void *raw) { return (void *)(((uintptr_t)raw + 63) & ~(uintptr_t)63); }

static int buffer_reserve(buffer *b, size_t size) {
    if (size <= b->size) return 0;
    void *raw = malloc(size + 64);
    if (!raw) return -1;
    free(b->raw);
    b->raw = raw;
    b->size = size;
    return 0;
}

static int run_serially(apr_task *task, void *context, ptrdiff_t n_task, buffer *b, size_t scratch_bytes) {
    if (buffer_reserve(b, scratch_bytes)) {
        failed = 1;
        return -1;
    }
    for (ptrdiff_t i = 0; i < n_task; i++) task(context, i, aligned(b->raw));
    return 0;
}

/* ---- the operating system's threads ------------------------------------------------------------------------------ */

#if defined(_WIN32)
#include <windows.h>

typedef SRWLOCK lock_type;
typedef CONDITION_VARIABLE condition_type;
#define LOCK_INITIAL SRWLOCK_INIT
#define CONDITION_INITIAL CONDITION_VARIABLE_INIT
static void lock(lock_type *l) { AcquireSRWLockExclusive(l); }
static int try_lock(lock_type *l) { return TryAcquireSRWLockExclusive(l); }
static void unlock(lock_type *l) { ReleaseSRWLockExclusive(l); }
static void wait_condition(condition_type *s, lock_type *l) { SleepConditionVariableSRW(s, l, INFINITE, 0); }
static void wake_all(condition_type *s) { WakeAllConditionVariable(s); }
static void yield_thread(void) { SwitchToThread(); }
#elif defined(__EMSCRIPTEN__)
typedef atomic_int lock_type;      /* 1 while it is held */
typedef atomic_int condition_type; /* incremented by each wake_all */
#define LOCK_INITIAL 0
#define CONDITION_INITIAL 0

/* Sleep while a word has this value, at most `nanoseconds`; negative: without a limit. */
static void sleep_while(atomic_int *word, int value, int64_t nanoseconds) {
    __builtin_wasm_memory_atomic_wait32((int *)word, value, nanoseconds);
}
static void lock(lock_type *l) {
    while (atomic_exchange(l, 1)) sleep_while(l, 1, -1);
}
static int try_lock(lock_type *l) { return !atomic_exchange(l, 1); }
static void unlock(lock_type *l) {
    atomic_store(l, 0);
    __builtin_wasm_memory_atomic_notify((int *)l, 1);
}
static void wait_condition(condition_type *s, lock_type *l) {
    int seen = atomic_load(s);
    unlock(l);
    sleep_while(s, seen, -1);
    lock(l);
}
static void wake_all(condition_type *s) {
    atomic_fetch_add(s, 1);
    __builtin_wasm_memory_atomic_notify((int *)s, UINT32_MAX);
}
static void yield_thread(void) {
    static atomic_int never;
    sleep_while(&never, 0, 20000);
}
#else
#include <pthread.h>
#include <sched.h>

typedef pthread_mutex_t lock_type;
typedef pthread_cond_t condition_type;
#define LOCK_INITIAL PTHREAD_MUTEX_INITIALIZER
#define CONDITION_INITIAL PTHREAD_COND_INITIALIZER
static void lock(lock_type *l) { pthread_mutex_lock(l); }
static int try_lock(lock_type *l) { return pthread_mutex_trylock(l) == 0; }
static void unlock(lock_type *l) { pthread_mutex_unlock(l); }
static void wait_condition(condition_type *s, lock_type *l) { pthread_cond_wait(s, l); }
static void wake_all(condition_type *s) { pthread_cond_broadcast(s); }
static void yield_thread(void) { sched_yield(); }
#endif

#if defined(__x86_64__) || defined(_M_X64)
#include <emmintrin.h>
#endif

static void cpu_pause(void) {
#if defined(__x86_64__) || defined(_M_X64)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* ---- the pool ---------------------------------------------------------------------------------------------------- */

enum {
    MAX_THREADS = 256,
#if defined(__EMSCRIPTEN__) /* has no instruction that pauses */
    SPINS_BEFORE_SLEEP = 50000,
    SPINS_BEFORE_YIELD = 100000,
#else
    SPINS_BEFORE_SLEEP = 4000,  /* pauses before a worker sleeps: about 50 to 100 microseconds */
    SPINS_BEFORE_YIELD = 10000, /* pauses before a waiting caller yields its core */
#endif
};

typedef struct thread_pool {
    lock_type busy;  /* held by the caller whose job runs; guards scratch, n_worker and the job's fields */
    lock_type sleep; /* guards wake */
    condition_type wake;
    atomic_int n_sleeping, n_thread, n_left;
    int n_worker;
    _Atomic uint64_t ticket; /* job number << 32 | next task */
    _Atomic(apr_task *) task;
    _Atomic(void *) context;
    atomic_int n_task, n_active;
    buffer scratch[MAX_THREADS];
} thread_pool;

static thread_pool pool = {.busy = LOCK_INITIAL, .sleep = LOCK_INITIAL, .wake = CONDITION_INITIAL, .n_thread = 1};

void apr_set_num_threads(int n) { atomic_store(&pool.n_thread, n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : n); }
int apr_get_num_threads(void) {
    int n = atomic_load(&pool.n_thread);
#if defined(__EMSCRIPTEN__)
    if (n > pool.n_worker + 1) n = pool.n_worker + 1;
#endif
    return n;
}

/* Run tasks of job `number` until none is left. What is read before a claim belongs to this job if the claim succeeds:
 * the job cannot end while one of its tasks is claimed but not done. */
static void work_on(thread_pool *p, uint32_t number, int slot) {
    for (;;) {
        uint64_t ticket = atomic_load_explicit(&p->ticket, memory_order_acquire);
        uint32_t next = (uint32_t)ticket;
        apr_task *task = atomic_load_explicit(&p->task, memory_order_relaxed);
        void *context = atomic_load_explicit(&p->context, memory_order_relaxed);
        if ((uint32_t)(ticket >> 32) != number ||
            next >= (uint32_t)atomic_load_explicit(&p->n_task, memory_order_relaxed))
            return;
        if (!atomic_compare_exchange_weak_explicit(&p->ticket, &ticket, ticket + 1, memory_order_acq_rel,
                                                   memory_order_relaxed))
            continue;
        task(context, (ptrdiff_t)next, aligned(p->scratch[slot].raw));
        atomic_fetch_sub_explicit(&p->n_left, 1, memory_order_release);
    }
}

static void worker(thread_pool *p, int slot) {
    uint32_t seen = 0;
    for (;;) {
        uint32_t number = 0;
        int spins = 0;
        while (spins < SPINS_BEFORE_SLEEP &&
               (number = (uint32_t)(atomic_load_explicit(&p->ticket, memory_order_acquire) >> 32)) == seen) {
            cpu_pause();
            spins++;
        }
        if (number == seen) {
            lock(&p->sleep);
            atomic_fetch_add(&p->n_sleeping, 1);
            while ((number = (uint32_t)(atomic_load(&p->ticket) >> 32)) == seen) wait_condition(&p->wake, &p->sleep);
            atomic_fetch_sub(&p->n_sleeping, 1);
            unlock(&p->sleep);
        }
        seen = number;
        if (slot < atomic_load_explicit(&p->n_active, memory_order_relaxed)) work_on(p, number, slot);
    }
}

#if defined(_WIN32)
static DWORD WINAPI worker_entry(LPVOID slot) {
    worker(&pool, (int)(intptr_t)slot);
    return 0;
}

static int start_worker(int slot) {
    HANDLE handle = CreateThread(NULL, 0, worker_entry, (LPVOID)(intptr_t)slot, 0, NULL);
    if (!handle) return -1;
    CloseHandle(handle);
    return 0;
}
#elif defined(__EMSCRIPTEN__)
static int start_worker(int slot) { return (void)slot, -1; } /* workers are added by apr_add_workers */

void *apr_pool(void) { return &pool; }
void *apr_function_address(void) { return (void *)(uintptr_t)worker; }
void *apr_reserve(size_t size) { return malloc(size); }
void apr_add_workers(int n) { pool.n_worker = n; }
void apr_work(void *pool_at, int slot) { worker(pool_at, slot); }
#else
static void *worker_entry(void *slot) {
    worker(&pool, (int)(intptr_t)slot);
    return NULL;
}

/* In a forked child there are no workers, and a lock may have been held by a thread that no longer exists, or a job
 * may have been running. The job counts as done. The scratch buffers may have been about to be replaced, so they are
 * abandoned. */
static void after_fork(void) {
    pthread_mutex_init(&pool.busy, NULL);
    pthread_mutex_init(&pool.sleep, NULL);
    pthread_cond_init(&pool.wake, NULL);
    atomic_store(&pool.ticket, atomic_load(&pool.ticket) | UINT32_MAX);
    atomic_store(&pool.n_sleeping, 0);
    atomic_store(&pool.n_left, 0);
    for (int slot = 0; slot < MAX_THREADS; slot++) pool.scratch[slot] = (buffer){NULL, 0};
    pool.n_worker = 0;
}

static int start_worker(int slot) {
    static int registered;
    pthread_attr_t attributes;
    pthread_t thread;
    if (!registered) {
        if (pthread_atfork(NULL, NULL, after_fork)) return -1;
        registered = 1;
    }
    if (pthread_attr_init(&attributes)) return -1;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int error = pthread_create(&thread, &attributes, worker_entry, (void *)(intptr_t)slot);
    pthread_attr_destroy(&attributes);
    return error ? -1 : 0;
}
#endif

int apr_parallel(apr_task *task, void *context, ptrdiff_t n_task, size_t scratch_bytes) {
    if (n_task <= 0) return 0;
    if (!try_lock(&pool.busy)) {
        buffer own = {NULL, 0};
        int result = run_serially(task, context, n_task, &own, scratch_bytes);
        free(own.raw);
        return result;
    }
    ptrdiff_t wanted = apr_get_num_threads();
    if (wanted > n_task) wanted = n_task;
    while (pool.n_worker < wanted - 1 && start_worker(pool.n_worker + 1) == 0) pool.n_worker++;
    int n_active = pool.n_worker < wanted - 1 ? pool.n_worker + 1 : (int)wanted, result = 0;
    for (int slot = 1; slot < n_active; slot++) result |= buffer_reserve(&pool.scratch[slot], scratch_bytes);
    if (n_active == 1 || result) {
        result = run_serially(task, context, n_task, &pool.scratch[0], scratch_bytes);
    } else if (buffer_reserve(&pool.scratch[0], scratch_bytes)) {
        failed = 1;
        result = -1;
    } else {
        uint32_t number = (uint32_t)(atomic_load_explicit(&pool.ticket, memory_order_relaxed) >> 32) + 1;
        /* Exhaust the finished job's ticket first, so that no worker claims a task between these stores, whatever
         * n_task is. */
        atomic_store(&pool.ticket, (uint64_t)(number - 1) << 32 | UINT32_MAX);
        atomic_store_explicit(&pool.task, task, memory_order_relaxed);
        atomic_store_explicit(&pool.context, context, memory_order_relaxed);
        atomic_store_explicit(&pool.n_task, (int)n_task, memory_order_relaxed);
        atomic_store_explicit(&pool.n_active, n_active, memory_order_relaxed);
        atomic_store_explicit(&pool.n_left, (int)n_task, memory_order_relaxed);
        atomic_store(&pool.ticket, (uint64_t)number << 32);
        if (atomic_load(&pool.n_sleeping)) {
            lock(&pool.sleep);
            wake_all(&pool.wake);
            unlock(&pool.sleep);
        }
        work_on(&pool, number, 0);
        for (int spins = 0; atomic_load_explicit(&pool.n_left, memory_order_acquire); spins++) {
            if (spins < SPINS_BEFORE_YIELD) cpu_pause();
            else yield_thread();
        }
    }
    unlock(&pool.busy);
    return result;
}

int apr_parallel_with_libc(apr_task *task, void *context, ptrdiff_t n_task, size_t scratch_bytes) {
#if defined(__EMSCRIPTEN__)
    return run_serially(task, context, n_task, &pool.scratch[0], scratch_bytes);
#else
    return apr_parallel(task, context, n_task, scratch_bytes);
#endif
}
