// C++ with its library for the meter's tests and benchmarks: each export takes
// how often to do its work and returns a checksum.
#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#define KERNEL(name) extern "C" __attribute__((export_name(#name))) uint32_t name(uint32_t n)

namespace {
struct Shape {
	virtual ~Shape() = default;
	virtual double area() const = 0;
};
struct Square : Shape {
	explicit Square(double a) : a(a) {}
	double area() const override { return a * a; }
	double a;
};
struct Disc : Shape {
	explicit Disc(double r) : r(r) {}
	double area() const override { return 3.14159 * r * r; }
	double r;
};
uint32_t next(uint32_t &x) { return x = x * 1664525 + 1013904223; }
} // namespace

KERNEL(shapes) {
	double sum = 0;
	for (uint32_t i = 0; i < n; i++) {
		std::vector<std::unique_ptr<Shape>> all;
		for (uint32_t k = 0; k < 50; k++) {
			if ((k ^ i) & 1)
				all.push_back(std::make_unique<Square>(k));
			else
				all.push_back(std::make_unique<Disc>(k));
		}
		for (const auto &s : all) sum += s->area();
	}
	return static_cast<uint32_t>(static_cast<uint64_t>(sum));
}

KERNEL(maps) {
	std::map<uint32_t, std::string> tree;
	std::unordered_map<uint32_t, uint32_t> table;
	uint32_t x = 7, out = 0;
	for (uint32_t i = 0; i < n; i++) {
		tree[next(x) >> 22] += static_cast<char>('a' + i % 26);
		table[next(x) >> 20] ^= i;
	}
	for (const auto &[key, word] : tree) out = out * 31 + key + static_cast<uint32_t>(word.size());
	for (const auto &[key, value] : table) out += key * value;
	return out;
}

KERNEL(sorting) {
	uint32_t x = 7, out = 0;
	for (uint32_t i = 0; i < n; i++) {
		std::vector<std::string> words;
		for (int k = 0; k < 200; k++) words.push_back(std::to_string(next(x) >> 8));
		std::sort(words.begin(), words.end());
		for (char c : words[100]) out = out * 31 + static_cast<uint8_t>(c);
	}
	return out;
}
