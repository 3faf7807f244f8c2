// One step of Adam (Kingma and Ba 2015) for one number, or for a register of them; eps stands outside the root.
#pragma once
#include "gsr/elementary.h"
#include "gsr/math.h"

namespace gsr {

template <class T>
struct AdamRates {
  T lr, beta1, beta2, eps;
};

// `rest1`, `rest2`: 1 - beta^t of the two means, or 1 where they are not corrected.
template <class T>
GSR_HD void adam_step(const AdamRates<T>& r, T rest1, T rest2, T gradient, T& value, T& mean, T& square_mean) {
  mean = r.beta1 * mean + (1 - r.beta1) * gradient;
  square_mean = r.beta2 * square_mean + (1 - r.beta2) * gradient * gradient;
  value -= r.lr / rest1 * mean / (sqrt(square_mean / rest2) + r.eps);
}

// 1 - beta^t without cancellation: with h = tanh(-t log(beta) / 2) it is 2 h / (1 + h). No branches, as a compiler is
// to turn it into vectors.
template <class T>
GSR_HD T adam_rest(T log_beta, T t) {
  const T h = tanh_of(T(-0.5) * log_beta * t);
  return 2 * h / (1 + h);
}

}  // namespace gsr
