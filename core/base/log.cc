// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>

#include <cstdlib>
#include <memory>

namespace heca {

spdlog::logger& Log() {
  static spdlog::logger logger = [] {
    spdlog::logger made("heca", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made.set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%l%$ %v");
    const char* level = std::getenv("HECA_LOG");
    made.set_level(level != nullptr ? spdlog::level::from_str(level) : spdlog::level::info);
    made.flush_on(spdlog::level::info);
    return made;
  }();
  return logger;
}

}  // namespace heca
