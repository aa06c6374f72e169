// SPDX-License-Identifier: LGPL-2.1-or-later
// What a look at a domain's XML finds: things that are changed, and things that only the operator can change.
#pragma once

#include <string>
#include <string_view>

namespace heca::domain {

struct Change {
  std::string name;  ///< "memory backing", "NUMA cell 0", "DIMM", "QMP socket", "CPU" or "metadata"
  std::string what;  ///< "<source type='memfd'> becomes <source type='file'>"
};

/// The names are those of the refusals at attach (guest/refusals.h), which sees more, because it looks at the running
/// process.
struct Refusal {
  std::string_view name;  ///< "vhost-user"
  std::string detail;     ///< what exactly was found
  std::string_view remedy;
};

}  // namespace heca::domain
