/* Kernels for differential tests and benchmarks: each takes a size and returns
 * a checksum, and uses no import. Build:
 *   clang --target=wasm32 -O2 -nostdlib -mbulk-memory -Wl,--no-entry \
 *     -Wl,--export-dynamic -Wl,-z,stack-size=65536 -o kernels.wasm kernels.c
 */
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned char u8;
#define KERNEL(name) __attribute__((export_name(#name))) u32 name(u32 n)

static u8 bytes[1 << 20];
static double grid[3][64 * 64];
static u32 words[1 << 16];

KERNEL(fib) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

KERNEL(sieve) {
	u32 count = 0;
	n = n > sizeof bytes ? sizeof bytes : n;
	for (u32 i = 0; i < n; i++) bytes[i] = 1;
	for (u32 i = 2; i < n; i++) {
		if (!bytes[i]) continue;
		count++;
		for (u32 j = i * 2; j < n; j += i) bytes[j] = 0;
	}
	return count;
}

KERNEL(matmul) {
	double sum = 0;
	for (u32 i = 0; i < 64 * 64; i++) grid[0][i] = i % 7, grid[1][i] = i % 5;
	for (u32 r = 0; r < n; r++)
		for (u32 i = 0; i < 64; i++)
			for (u32 j = 0; j < 64; j++) {
				double x = 0;
				for (u32 k = 0; k < 64; k++) x += grid[0][i * 64 + k] * grid[1][k * 64 + j];
				grid[2][i * 64 + j] = x;
				sum += x;
			}
	return (u32)(u64)sum;
}

KERNEL(crc32) {
	u32 crc = ~0u;
	for (u32 i = 0; i < n; i++) {
		crc ^= (u8)(i * 31);
		for (int k = 0; k < 8; k++) crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
	}
	return ~crc;
}

static void sort(u32 *a, int lo, int hi) {
	while (lo < hi) {
		u32 pivot = a[(lo + hi) / 2];
		int i = lo, j = hi;
		while (i <= j) {
			while (a[i] < pivot) i++;
			while (a[j] > pivot) j--;
			if (i <= j) {
				u32 t = a[i];
				a[i++] = a[j];
				a[j--] = t;
			}
		}
		sort(a, lo, j);
		lo = i;
	}
}

KERNEL(quicksort) {
	u32 x = 12345, sum = 0;
	n &= 0xffff;
	for (u32 i = 0; i < n; i++) words[i] = x = x * 1664525 + 1013904223;
	sort(words, 0, (int)n - 1);
	for (u32 i = 0; i < n; i++) sum = sum * 31 + words[i];
	return sum;
}

static u32 rotr(u32 x, int k) { return x >> k | x << (32 - k); }

KERNEL(sha) { /* the rounds of SHA-256 on a running state */
	u32 s[8] = {1, 2, 3, 4, 5, 6, 7, 8}, w[64];
	for (u32 r = 0; r < n; r++) {
		for (u32 i = 0; i < 16; i++) w[i] = r * 16 + i;
		for (u32 i = 16; i < 64; i++)
			w[i] = w[i - 16] + w[i - 7] + (rotr(w[i - 15], 7) ^ rotr(w[i - 15], 18) ^ w[i - 15] >> 3) +
			       (rotr(w[i - 2], 17) ^ rotr(w[i - 2], 19) ^ w[i - 2] >> 10);
		for (u32 i = 0; i < 64; i++) {
			u32 t = s[7] + (rotr(s[4], 6) ^ rotr(s[4], 11) ^ rotr(s[4], 25)) + ((s[4] & s[5]) ^ (~s[4] & s[6])) + w[i];
			u32 u = (rotr(s[0], 2) ^ rotr(s[0], 13) ^ rotr(s[0], 22)) + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
			for (int k = 7; k > 0; k--) s[k] = s[k - 1];
			s[4] += t;
			s[0] = t + u;
		}
	}
	return s[0] ^ s[7];
}

KERNEL(mandel) {
	u32 sum = 0;
	for (u32 y = 0; y < n; y++)
		for (u32 x = 0; x < n; x++) {
			double cr = 3.0 * x / n - 2, ci = 2.0 * y / n - 1, a = 0, b = 0;
			u32 i = 0;
			for (; i < 64 && a * a + b * b < 4; i++) {
				double t = a * a - b * b + cr;
				b = 2 * a * b + ci;
				a = t;
			}
			sum += i;
		}
	return sum;
}

KERNEL(hashmap) { /* open addressing, many short branches */
	u32 hits = 0;
	for (u32 i = 0; i < 1 << 16; i++) words[i] = 0;
	for (u32 i = 1; i <= n; i++) {
		u32 key = i * 2654435761u % 50021 + 1, at = key * 40503u & 0xffff;
		while (words[at] && words[at] != key) at = (at + 1) & 0xffff;
		if (words[at]) hits++;
		words[at] = key;
	}
	return hits;
}

KERNEL(interpreter) { /* br_table in a loop */
	u32 pc = 0, acc = 1, i = 0;
	static const u8 code[] = {0, 1, 2, 3, 4, 5, 6, 1, 3, 5, 7};
	while (i < n) {
		switch (code[pc++]) {
		case 0: acc += 3; break;
		case 1: acc *= 5; break;
		case 2: acc ^= acc >> 3; break;
		case 3: acc += pc; break;
		case 4: acc = acc << 5 | acc >> 27; break;
		case 5: acc -= 11; break;
		case 6: acc |= 1; break;
		case 7: pc = 0; i++; break;
		}
	}
	return acc;
}

typedef u32 (*operation)(u32, u32);
static u32 add(u32 a, u32 b) { return a + b; }
static u32 mul(u32 a, u32 b) { return a * b; }
static u32 mix(u32 a, u32 b) { return (a ^ b) * 16777619u; }
static u32 div(u32 a, u32 b) { return a / (b | 1); }
static operation volatile operations[] = {add, mul, mix, div};

KERNEL(indirect) {
	u32 acc = 1;
	for (u32 i = 0; i < n; i++) acc = operations[i & 3](acc, i);
	return acc;
}

KERNEL(bulk) { /* memory.fill and memory.copy */
	for (u32 i = 0; i < n; i++) {
		__builtin_memset(bytes, (int)i, 4096);
		__builtin_memcpy(bytes + 8192, bytes, 4096 + (i & 255));
	}
	return bytes[8192] + bytes[8192 + 4095];
}

KERNEL(collatz) {
	u32 best = 0;
	for (u32 i = 1; i < n; i++) {
		u32 steps = 0;
		for (u64 x = i; x != 1; steps++) x = x & 1 ? 3 * x + 1 : x / 2;
		if (steps > best) best = steps;
	}
	return best;
}

/* grow takes pages until the host refuses or n are taken; what it returns is
 * what it got. */
KERNEL(grow) {
	u32 got = 0;
	while (got < n && __builtin_wasm_memory_grow(0, 1) != (unsigned long)-1) got++;
	return got;
}

/* wild reads beyond the memory: a trap. */
KERNEL(wild) {
	u32 sum = 0;
	for (u32 i = 0; i < n; i++) sum += i;
	return sum + *(volatile u32 *)(~0u - 8);
}

/* depth recurses n deep. */
KERNEL(depth) { return n == 0 ? 0 : 1 + (volatile u32){depth(n - 1)}; }
