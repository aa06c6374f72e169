// SPDX-License-Identifier: LGPL-2.1-or-later
// Secrets, tokens and ids from the kernel's generator. Thread-safe.
#pragma once

#include "control/sponsor_api.h"
#include "heca/types.h"

namespace heca::store {

[[nodiscard]] control::Secret RandomSecret();
/// Never 0. 48 bits: unique for all time among the leases of a sponsor, and still readable.
[[nodiscard]] LeaseId RandomLeaseId();
/// Takes the same time wherever they differ.
[[nodiscard]] bool SameSecret(const control::Secret& a, const control::Secret& b);

}  // namespace heca::store
