// SPDX-License-Identifier: LGPL-2.1-or-later
// What hecactl tells the shell. Documented in docs/cli.md; scripts depend on the numbers.
#pragma once

#include "heca/status.h"

namespace heca::cli {

enum class ExitCode : int {
  kOk = 0,
  kFailed = 1,       ///< it was tried and did not work; doctor: something has to be repaired
  kUsage = 2,        ///< the command line, or a value in it, is wrong
  kUnreachable = 3,  ///< no hecad answers on the socket
  kRefused = 4,      ///< hecad says no: the state, the privilege or the memory does not allow it
  kTimedOut = 5,     ///< --timeout ran out; what was begun is undone or can be repeated
  kInterrupted = 130,
};

/// `hecad_answers`: whether somebody listens on the socket (kUnavailable can also mean a sponsor behind
/// hecad).
[[nodiscard]] ExitCode ExitCodeOf(const Status& status, bool hecad_answers);

}  // namespace heca::cli
