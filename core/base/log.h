// SPDX-License-Identifier: LGPL-2.1-or-later
// The process's log: one line a fact, to standard error, level from HECA_LOG (trace|debug|info|warn|error; info).
// Thread-safe. Never used on the fault path above trace.
#pragma once

#include <spdlog/logger.h>

namespace heca {

spdlog::logger& Log();

}  // namespace heca
