// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/version.h"

namespace heca {

std::string_view Version() { return HECA_VERSION; }

}  // namespace heca
