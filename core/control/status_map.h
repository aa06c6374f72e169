// SPDX-License-Identifier: LGPL-2.1-or-later
// Status <-> grpc::Status. Private to this room. A Status that crosses keeps code, scope, errno and text
// (core/proto/heca/v1/error.proto); the text is cut at 1 KiB, because gRPC refuses trailers over 8 KiB.
#pragma once

#include <grpcpp/support/status.h>

#include <string>
#include <string_view>

#include "heca/status.h"

namespace heca::control {

[[nodiscard]] grpc::Status ToGrpc(const Status& status);
/// `peer` names the other side in errors that gRPC itself made: "hecad at /run/heca/hecad.sock".
[[nodiscard]] Status FromGrpc(const grpc::Status& status, std::string_view peer);

/// The text with every byte that is not valid UTF-8 replaced by '?'. Protobuf refuses anything else in a string, and
/// names of files and processes may hold any byte.
[[nodiscard]] std::string Utf8(std::string_view text);

}  // namespace heca::control
