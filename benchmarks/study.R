# Paths of glmnet for all variants and units of one fold; `study.py` calls it and says what the arguments are.
suppressPackageStartupMessages(library(glmnet))
given <- commandArgs(trailingOnly = TRUE)
folder <- given[1]
size <- as.integer(given[2:5])
alpha <- as.numeric(given[6])
read <- function(name, n) readBin(file.path(folder, name), "double", n)
X <- matrix(read("X", size[1] * size[2]), size[1], byrow = FALSE)
y <- matrix(read("y", size[1] * size[3]), size[1], byrow = FALSE)
strengths <- read("strengths", size[4])
variants <- lapply(strsplit(readLines(file.path(folder, "variants")), ","), as.integer)
seconds <- 0
n_warnings <- 0
out <- file(file.path(folder, "found"), "wb")
for (columns in variants) {
  features <- X[, columns, drop = FALSE]
  for (unit in seq_len(size[3])) {
    start <- proc.time()
    fit <- withCallingHandlers(
      glmnet(features, y[, unit], family = "poisson", alpha = alpha, lambda = strengths, standardize = FALSE,
             thresh = 1e-12, maxit = 1e7),
      warning = function(w) {
        n_warnings <<- n_warnings + 1
        invokeRestart("muffleWarning")
      })
    spent <- proc.time() - start
    seconds <- seconds + spent[["user.self"]] + spent[["sys.self"]]
    for (k in seq_along(strengths)) {
      coef <- numeric(size[2] + 1)
      if (k <= length(fit$a0)) {
        coef[1] <- fit$a0[k]
        coef[columns + 1] <- as.numeric(fit$beta[, k])
      } else {
        coef[] <- NaN
      }
      writeBin(coef, out)
    }
  }
}
close(out)
versions <- paste("R", getRversion(), "glmnet", packageVersion("glmnet"))
writeLines(c(paste("cpu_s", seconds), paste("warnings", n_warnings), paste("versions", versions)),
           file.path(folder, "notes"))
