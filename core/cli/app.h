// SPDX-License-Identifier: LGPL-2.1-or-later
// hecactl without its process.
#pragma once

#include <cstdio>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "control/node_api.h"
#include "control/node_client.h"
#include "heca/status.h"

namespace heca::cli {

/// Where to write, and how; `in` is what `xml` reads if no file is named.
struct Output {
  std::FILE* out = stdout;
  std::FILE* err = stderr;
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  std::FILE* in = stdin;
  bool in_is_terminal = false;
};

/// The way to hecad: NodeClient::Create, or a test's fake.
using Connect = std::function<Result<std::unique_ptr<control::NodeApi>>(const control::NodeClientOptions&)>;

/// Runs one command line; returns the exit code (exit_code.h).
int Run(std::span<const std::string> args, const Output& output, const Connect& connect);

}  // namespace heca::cli
