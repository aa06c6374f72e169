// SPDX-License-Identifier: LGPL-2.1-or-later
// What this kernel's userfaultfd can do, found out once by asking and trying, and passed down as a value.
#pragma once

#include <cstdint>

#include "heca/status.h"

namespace heca::os {

struct UffdAbilities {
  std::uint64_t features = 0;     ///< UFFD_FEATURE_* that the kernel offers
  std::uint64_t negotiated = 0;   ///< what the engine asks for: WantedUffdFeatures() as far as offered
  bool sufficient = false;        ///< every RequiredUffdFeatures() bit is there
  bool thread_ids = false;        ///< a fault tells its thread (4.14)
  bool poison = false;            ///< UFFDIO_POISON (6.6)
  bool write_protect_async = false;  ///< WP_ASYNC (6.7)
  bool page_scan = false;         ///< PAGEMAP_SCAN tells what was written and arms it anew (6.7), tried on pages
  bool continue_protected = false;   ///< UFFDIO_CONTINUE keeps a page armed (6.4), tried on a page
  bool device = false;            ///< /dev/userfaultfd can be opened (6.1)
};

/// Fails if no userfaultfd can be had at all. Leaves nothing behind.
[[nodiscard]] Result<UffdAbilities> ProbeUffd();

}  // namespace heca::os
