// Front-to-back compositing of a tile.
#include "api.h"
#include "composite.h"
#include "memory.h"
#include "pool.h"

namespace gsr {
namespace {

// One block through its splats of a batch; returns whether a pixel of it is still open. `colors` holds 16 a channel.
template <class T, int kChannels>
GSR_INLINE bool forward_block(const Cuts<T>& cuts, const Batch<T>& batch, uint64_t hits, const BlockPixels<T>& pixels,
                              T* transmittances, T* colors) {
  typedef Vec<T> V;
  constexpr int parts = BlockPixels<T>::parts;
  PixelRow<T> raw[kBatch];
  uint8_t rows[kBatch];
  const int count = alphas_of_block(cuts, batch, hits, pixels, raw, rows);
  V state[parts], sums[parts][kChannels];
  for (int p = 0; p < parts; ++p) {
    state[p] = V::load(transmittances + V::width * p);
    for (int d = 0; d < kChannels; ++d) sums[p][d] = V::load(colors + kBlockPixels * d + V::width * p);
  }
  uint32_t open = 1;
  for (int i = 0; i < count && open; ++i) {
    const T* c = batch.splats[rows[i]].channels;
    open = 0;
#pragma GCC unroll 16
    for (int p = 0; p < parts; ++p) {
      const Blended<V> s = blend(cuts, raw[i].get(p), state[p]);
      state[p] = s.transmittance;
      for (int d = 0; d < kChannels; ++d) sums[p][d] = fma(s.weight, V(c[d]), sums[p][d]);
      open |= bits<T>(s.open);
    }
  }
  for (int p = 0; p < parts; ++p) {
    state[p].store(transmittances + V::width * p);
    for (int d = 0; d < kChannels; ++d) sums[p][d].store(colors + kBlockPixels * d + V::width * p);
  }
  return open != 0;
}

// The same for any number of channels: first the weights, then their product with the channels. `colors` has 16 rows.
template <class T>
GSR_INLINE bool forward_block(const Cuts<T>& cuts, const Batch<T>& batch, const Features<T>& features, uint64_t hits,
                              const BlockPixels<T>& pixels, T* transmittances, T* colors) {
  typedef Vec<T> V;
  PixelRow<T> weights[kBatch];
  uint8_t rows[kBatch];
  int count;
  const bool open = weights_of_block(cuts, batch, hits, pixels, transmittances, weights, rows, count);
  for (int i = 0; i < kBlockPixels; i += 4)
    for (int d = 0; d < features.stride; d += V::width) {
      V sum[4];
      for (int j = 0; j < 4; ++j) sum[j] = V::load(colors + (i + j) * features.stride + d);
      for (int n = 0; n < count; ++n) {
        const V c = V::load(features.row(rows[n]) + d);
        for (int j = 0; j < 4; ++j) sum[j] = fma(V(weights[n].of[i + j]), c, sum[j]);
      }
      for (int j = 0; j < 4; ++j) sum[j].store(colors + (i + j) * features.stride + d);
    }
  return open;
}

// `colors` has 16 a channel, block by block, where the number of channels is a constant, else a row a pixel.
template <class T, class Channels>
GSR_INLINE void write_pixels(const gsr_rasterization& a, const TileLists<T>& t, const TilePixels& pixels,
                             const T* transmittances, const T* colors, Channels channels) {
  constexpr bool known = !std::is_same<Channels, int>::value;
  const int stride = known ? channels : padded<T>(channels), step = known ? kBlockPixels : 1;
  const T* background = a.backgrounds ? static_cast<const T*>(a.backgrounds) + pixels.camera * channels : nullptr;
  T *const image = static_cast<T*>(a.image), *const alphas = static_cast<T*>(a.alphas), *left = t.transmittances;
  pixels.each(a.width, a.height, [&](int i, int64_t flat) {
    const T left_over = std::fabs(transmittances[i]);
    left[flat] = left_over, alphas[flat] = 1 - left_over;
    const T* color = colors + (known ? i / kBlockPixels * kBlockPixels * stride + i % kBlockPixels : i * stride);
    T* out = image + flat * channels;
    if (background)
      for (int d = 0; d < channels; ++d) out[d] = color[step * d] + left_over * background[d];
    else
      for (int d = 0; d < channels; ++d) out[d] = color[step * d];
  });
}

// `scratch` holds the tile's colours and, where the number of channels is not known here, a batch's features.
template <class T, int kChannels>
void forward_tile(const gsr_rasterization& a, const Cuts<T>& cuts, const TileLists<T>& t, int64_t tile, T* scratch) {
  const TilePixels pixels(t, tile);
  pixels.prefetch(static_cast<const T*>(a.image), a.channels, a.width, a.height);
  pixels.prefetch(static_cast<const T*>(a.alphas), 1, a.width, a.height);
  pixels.prefetch(t.transmittances, 1, a.width, a.height);
  alignas(64) T transmittances[kTilePixels];
  std::fill_n(transmittances, kTilePixels, T(0));
  pixels.each(a.width, a.height, [&](int i, int64_t) { transmittances[i] = T(1); });
  const int stride = kChannels ? kChannels : padded<T>(a.channels);
  T* colors = scratch;
  std::fill_n(colors, kTilePixels * stride, T(0));
  Features<T> features(a, t, scratch + kTilePixels * stride);
  Batch<T> batch;
  uint32_t alive = pixels.inside(a.width, a.height);
  int32_t at = t.offsets[tile];
  const int32_t end = t.offsets[tile + 1];
  while (at < end && alive) {
    const int count = std::min(end - at, int32_t(kBatch));
    batch.read(t, at, count, end);
    if (!kChannels) features.read(at, count);
    const int share = kBatch / __builtin_popcount(alive) + 1;
    for (uint32_t todo = alive; todo; todo &= todo - 1) {
      const int b = __builtin_ctz(todo);
      batch.prefetch(t, share);
      if (!batch.hits[b]) continue;
      T *T_block = transmittances + kBlockPixels * b, *out = colors + kBlockPixels * stride * b;
      bool open;
      if constexpr (kChannels != 0)
        open = forward_block<T, kChannels>(cuts, batch, batch.hits[b], pixels.block<T>(b), T_block, out);
      else
        open = forward_block(cuts, batch, features, batch.hits[b], pixels.block<T>(b), T_block, out);
      if (!open) alive &= ~(1u << b);
    }
    at += count;
  }
  t.last[tile] = at;
  if constexpr (kChannels != 0)
    write_pixels<T>(a, t, pixels, transmittances, colors, std::integral_constant<int, kChannels>());
  else
    write_pixels<T>(a, t, pixels, transmittances, colors, a.channels);
}

template <class T>
void rasterize(gsr_rasterization& a) {
  Workspace workspace;
  const TileLists<T> t = build_tile_lists<T>(a, workspace);
  const Stopwatch watch(GSR_FORWARD);
  const Cuts<T> cuts = cuts_of<T>(a);
  const Scratch<T> scratch(workspace, a.threads, int64_t(kTilePixels + kBatch) * padded<T>(a.channels));
  const int32_t* order = longest_first(t, workspace);
  with_channels(a.channels, [&](auto channels) {
    parallel_for(a.threads, t.tiles, [&](int64_t i, int worker) {
      forward_tile<T, decltype(channels)::value>(a, cuts, t, order[i], scratch.of(worker));
    });
  });
}

}  // namespace
}  // namespace gsr

int32_t gsr_rasterize(gsr_rasterization* args) {
  return gsr::dispatch(args, [&](auto t) { gsr::rasterize<decltype(t)>(*args); });
}
