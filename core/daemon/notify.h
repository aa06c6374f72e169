// SPDX-License-Identifier: LGPL-2.1-or-later
// Tells the service manager how far hecad is (sd_notify's protocol; no libsystemd needed for one datagram).
#pragma once

#include <string_view>

#include "heca/status.h"

namespace heca::daemon {

/// Sends `state` ("READY=1") to $NOTIFY_SOCKET. Ok without one: nobody wants to know. Thread-safe, does not
/// block.
Status Notify(std::string_view state);

}  // namespace heca::daemon
