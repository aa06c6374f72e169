// SPDX-License-Identifier: LGPL-2.1-or-later
// The verbs of hecactl: ask NodeApi, print the answer.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "cli/app.h"
#include "cli/exit_code.h"
#include "cli/interrupt.h"
#include "cli/json.h"
#include "cli/request.h"
#include "control/node_api.h"
#include "heca/status.h"

namespace heca::cli {

/// Commands that run until they are done or interrupted, and end tidily. They need an Interrupt.
[[nodiscard]] bool IsLong(Command command);

/// Runs one request against one hecad; one thread at a time.
class Commands {
 public:
  /// `interrupt` is null for commands that are not long; it was made before `api`, whose threads must not
  /// take signals.
  Commands(const Request& request, const Output& output, control::NodeApi& api, const Interrupt* interrupt)
      : request_(request), output_(output), api_(api), interrupt_(interrupt) {}
  /// The code to exit with where the command itself went well (doctor: what it found).
  [[nodiscard]] Result<ExitCode> Run();

 private:
  Result<ExitCode> Doctor();
  Result<ExitCode> NodeStatus();
  Result<ExitCode> Nodes();
  Result<ExitCode> Regions();
  Result<ExitCode> Attach();
  Result<ExitCode> Limit();
  Result<ExitCode> Detach();
  Result<ExitCode> Migrate();
  Result<ExitCode> MigrateDomain();
  Result<ExitCode> Migrations();
  Result<ExitCode> Steer();
  Result<ExitCode> Resolve();
  Result<ExitCode> Events();
  Result<ExitCode> Top();
  Result<ExitCode> Leases();
  Result<ExitCode> FreeLease();
  Result<ExitCode> Versions();

  template <class Operation>
  Status WithProgress(Operation operation);
  /// Prints one of the two.
  void Print(const Json& json, const std::string& text) const;
  void PrintLine(const Json& json) const;

  const Request& request_;
  const Output& output_;
  control::NodeApi& api_;
  const Interrupt* interrupt_;
};

}  // namespace heca::cli
