// SPDX-License-Identifier: LGPL-2.1-or-later
// Domain XML for the tests: the files of tests/data/domains, and small ones.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>

#include <fmt/format.h>

namespace heca::testing {

inline constexpr const char* kSamples[] = {"q35.xml", "nova.xml", "hugepages.xml", "numa.xml"};

inline std::string Sample(const std::string& name) {
  std::ifstream file(HECA_SOURCE_DIR "/tests/data/domains/" + name);
  EXPECT_TRUE(file) << name;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// A small domain with `inside` in it; `devices` go into <devices>.
inline std::string Small(const std::string& inside = "", const std::string& devices = "") {
  return fmt::format(
      "<domain type='kvm'>\n"
      "  <name>vm1</name>\n"
      "  <uuid>11111111-2222-3333-4444-555555555555</uuid>\n"
      "  <memory unit='MiB'>512</memory>\n"
      "{}"
      "  <devices>\n{}  </devices>\n"
      "</domain>\n",
      inside, devices);
}

inline std::string Metadata(const std::string& attributes) {
  return fmt::format(
      "  <metadata>\n    <heca:memory xmlns:heca='https://hecatonchire.org/xmlns/1'{}/>\n  </metadata>\n", attributes);
}

}  // namespace heca::testing
