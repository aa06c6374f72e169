// SPDX-License-Identifier: LGPL-2.1-or-later
// What cannot be governed, by name, each with its remedy: one table (refusals.cc), each row with its test.
//
// The common reasons: somebody else than the guest's process touches the RAM and does not fault there (vhost-user,
// virtiofs, VFIO); pages stay pinned for long, so that device writes go around write-protection (VFIO, userspace
// NVMe, RDMA); or the RAM is not a shared file, so that nothing can be fetched into it from outside.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "guest/facts.h"
#include "heca/status.h"

namespace heca::guest {

enum class Severity : std::uint8_t {
  kInvalid = 0,
  kNote = 1,    ///< works, but people should know
  kRefuse = 2,  ///< attach is refused
};

struct Finding {
  std::string_view name;  ///< of the row: "vhost-user"
  Severity severity = Severity::kInvalid;
  std::string detail;  ///< what exactly was found
  std::string_view remedy;
};

/// One row: `Detail` returns what was found, or an empty text.
struct RefusalRow {
  std::string_view name;
  Severity severity;
  std::string_view remedy;
  std::string (*detail)(const GuestFacts&);
};
[[nodiscard]] const std::vector<RefusalRow>& RefusalTable();

/// All rows that apply, in the order of the table.
[[nodiscard]] std::vector<Finding> Judge(const GuestFacts& facts);

/// Ok, or kFailedPrecondition with every refusal: "name: detail; remedy: ...". Notes do not count.
[[nodiscard]] Status ToStatus(const std::vector<Finding>& findings);

}  // namespace heca::guest
