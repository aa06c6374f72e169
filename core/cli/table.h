// SPDX-License-Identifier: LGPL-2.1-or-later
// Aligned columns of text. One thread at a time.
#pragma once

#include <string>
#include <vector>

namespace heca::cli {

class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  /// As many cells as columns; an empty cell is shown as "-".
  void Add(std::vector<std::string> cells);
  [[nodiscard]] bool empty() const { return rows_.empty(); }
  /// Columns two blanks apart, no blanks at the end of a line.
  [[nodiscard]] std::string Render() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace heca::cli
