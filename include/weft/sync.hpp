// All of weft's synchronisation. Each name works in tasks and in plain threads, and between the two.
#pragma once

#include <weft/barrier.hpp>
#include <weft/broadcast.hpp>
#include <weft/condition_variable.hpp>
#include <weft/fiber_local.hpp>
#include <weft/guarded.hpp>
#include <weft/latch.hpp>
#include <weft/mutex.hpp>
#include <weft/once.hpp>
#include <weft/oneshot.hpp>
#include <weft/rate_limiter.hpp>
#include <weft/semaphore.hpp>
#include <weft/shared_mutex.hpp>
#include <weft/singleflight.hpp>
#include <weft/wait_group.hpp>
#include <weft/watch.hpp>
