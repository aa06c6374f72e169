// SPDX-License-Identifier: LGPL-2.1-or-later
// hecad: reads its configuration, runs one Service, and waits for a signal.
#include <fmt/format.h>
#include <malloc.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/fail_points.h"
#include "base/log.h"
#include "base/version.h"
#include "daemon/config_load.h"
#include "daemon/notify.h"
#include "daemon/preflight.h"
#include "daemon/service.h"
#include "daemon/signals.h"

namespace heca::daemon {
namespace {

// Documented in hecad(8); packaging/hecad.service does not restart after kRefused.
enum ExitCode : int { kStopped = 0, kFailed = 1, kRefused = 2, kHostLacks = 3 };

/// What a migration needs for a moment goes back to the kernel, not into the heap of a thread: glibc raises this threshold with
/// each large block that is freed, unless it is set (mallopt(3)). Measured over 24 migrations: 6 MiB kept instead of 9.
constexpr int kLargeBlock = 128 << 10;  // the default, kept as it is

void Tell(std::string_view state) {
  if (const Status told = Notify(state); !told.ok()) Log().warn("{}", told.ToString());
}

int Fail(const Status& status, ExitCode code) {
  fmt::print(stderr, "hecad: {}\n", status.message());
  return code;
}

int Serve(const Config& config) {
  ::mallopt(M_MMAP_THRESHOLD, kLargeBlock);
  SetLogLevel(config.log_level);
  if (const Status armed = fail_points::ArmFromEnvironment(); !armed.ok()) return Fail(armed, kRefused);
  auto signals = StopSignals::Block();  // before any thread is made
  if (!signals.ok()) return Fail(signals.status(), kFailed);
  if (const Status ready = Preflight(config); !ready.ok()) return Fail(ready, kHostLacks);
  auto service = Service::Start(config);
  if (!service.ok()) return Fail(service.status(), kFailed);
  Log().info("hecad {} serves as '{}' on {}", Version(), config.name, config.socket);
  Tell("READY=1");
  const Result<int> signal = signals->Wait();
  Tell("STOPPING=1");
  if (signal.ok())
    Log().info("signal {}: stopping; regions stay governed and wait for the next hecad", *signal);
  (*service)->Stop();
  return signal.ok() ? kStopped : Fail(signal.status(), kFailed);
}

int Main(const std::vector<std::string>& args) {
  const Invocation asked = ParseInvocation(args);
  switch (asked.action) {
    case Action::kRun:
      return Serve(asked.config);
    case Action::kCheckConfig:
      return kStopped;
    case Action::kPrintConfig:
      fmt::print("{}", PrintConfig(asked.config));
      return kStopped;
    case Action::kPrintText:
      fmt::print("{}", asked.text);
      return kStopped;
    case Action::kRefused:
    case Action::kInvalid:
      break;
  }
  for (const std::string& line : asked.problems.lines) fmt::print(stderr, "hecad: {}\n", line);
  return kRefused;
}

}  // namespace
}  // namespace heca::daemon

int main(int argc, char** argv) { return heca::daemon::Main({argv + 1, argv + argc}); }
