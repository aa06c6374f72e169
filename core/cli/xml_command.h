// SPDX-License-Identifier: LGPL-2.1-or-later
// `hecactl xml`: a filter over domain XML. Asks no hecad.
#pragma once

#include "cli/app.h"
#include "cli/exit_code.h"
#include "cli/request.h"
#include "heca/status.h"

namespace heca::cli {

/// Prints the ready XML, or with --check what would change: kOk, or kFailed if the XML is not ready as it is.
/// Notes go to standard error where the XML goes to standard output. kNotFound or as of errno: the file cannot be read.
[[nodiscard]] Result<ExitCode> RunXml(const Request& request, const Output& output);

}  // namespace heca::cli
