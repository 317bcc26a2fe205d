// All of weft's core: tasks, channels, select, contexts, sync, time. Sockets are in <weft/net.hpp>, HTTP in <weft/http.hpp>.
#pragma once

#include <cstdlib>
#include <span>

#include <weft/after_func.hpp>
#include <weft/blocking.hpp>
#include <weft/chan.hpp>
#include <weft/context.hpp>
#include <weft/defer.hpp>
#include <weft/dump.hpp>
#include <weft/error.hpp>
#include <weft/leaks.hpp>
#include <weft/options.hpp>
#include <weft/parallel.hpp>
#include <weft/run.hpp>
#include <weft/select.hpp>
#include <weft/selector.hpp>
#include <weft/signal.hpp>
#include <weft/sync.hpp>
#include <weft/task.hpp>
#include <weft/task_group.hpp>
#include <weft/time.hpp>
#include <weft/unit.hpp>
