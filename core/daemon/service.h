// SPDX-License-Identifier: LGPL-2.1-or-later
// A hecad that runs, without its process: one node and everything that listens for it. The program hecad is one of these
// and a wait for a signal; the Python package has one inside a test.
#pragma once

#include <memory>

#include "daemon/config.h"
#include "heca/status.h"

namespace heca::daemon {

/// As the configuration says, unless HECA_LOG in the environment says otherwise: that was asked for by hand.
void SetLogLevel(LogLevel level);

/// Stop() by one thread at a time. To destroy it is a clean stop without detach: regions stay registered, and their threads
/// wait for the next hecad on this run-dir.
class Service {
 public:
  /// Node::Create's errors, and those of the servers: an address or a socket that is taken. Who wants to hear of what the
  /// host lacks in words of the configuration runs Preflight before.
  static Result<std::unique_ptr<Service>> Start(const Config& config);
  ~Service();

  /// Nothing listens afterwards; calls under way are cancelled after half a second. May take two seconds with metrics (their
  /// HTTP server looks up that rarely). The node serves faults meanwhile, and until this is destroyed. Idempotent.
  void Stop();

 private:
  class Impl;
  explicit Service(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace heca::daemon
