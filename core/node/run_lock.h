// SPDX-License-Identifier: LGPL-2.1-or-later
// Two hecads never share a run directory.
#pragma once

#include <string>

#include "base/unique_fd.h"
#include "heca/status.h"

namespace heca::node {

/// Makes the directory and locks a file in it (base/lock_file.h, whose patience it has) until the descriptor is closed.
[[nodiscard]] Result<unique_fd> LockDirectory(const std::string& directory);

}  // namespace heca::node
