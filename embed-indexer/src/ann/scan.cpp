// FAISS's scanners of inverted lists, which its C interface lacks: lists that lie anywhere in memory are compared
// with a query by the code that compares those of an index.

#include <algorithm>
#include <cstdint>
#include <exception>
#include <memory>

#include <faiss/IndexIVF.h>
#include <faiss/impl/IDSelector.h>
#include <faiss/utils/Heap.h>

namespace {

const faiss::IndexIVF* lists_of(const void* index) {
    return dynamic_cast<const faiss::IndexIVF*>(static_cast<const faiss::Index*>(index));
}

} // namespace

extern "C" {

// Bytes of a code; 0 when there are no inverted lists.
size_t curator_code_size(const void* index) {
    const faiss::IndexIVF* ivf = lists_of(index);
    return ivf ? ivf->code_size : 0;
}

// Copies the codes and ids of a list of `length` rows. Not 0: it cannot be read.
int curator_list(const void* index, size_t list, size_t length, uint8_t* codes, int64_t* ids) {
    try {
        const faiss::IndexIVF* ivf = lists_of(index);
        if (!ivf || list >= ivf->nlist || ivf->invlists->list_size(list) != length) {
            return 1;
        }
        faiss::InvertedLists::ScopedCodes from(ivf->invlists, list);
        faiss::InvertedLists::ScopedIds numbers(ivf->invlists, list);
        std::copy(from.get(), from.get() + length * ivf->code_size, codes);
        std::copy(numbers.get(), numbers.get() + length, ids);
        return 0;
    } catch (const std::exception&) {
        return 2;
    }
}

// The `k` best rows of `count` lists, best first, label -1 where there are fewer. `bits`, when not null, is `bytes`
// long and has a bit for each row; rows whose bit is 0 are left out. Not 0: FAISS refused.
int curator_scan(
        const void* index,
        const float* query,
        size_t count,
        const int64_t* lists,
        const float* nearness,
        const size_t* lengths,
        const uint8_t* const* codes,
        const int64_t* const* ids,
        const uint8_t* bits,
        size_t bytes,
        size_t k,
        float* distances,
        int64_t* labels) {
    try {
        const faiss::IndexIVF* ivf = lists_of(index);
        if (!ivf || ivf->metric_type != faiss::METRIC_INNER_PRODUCT) {
            return 1;
        }
        using Best = faiss::CMin<float, faiss::idx_t>;
        faiss::IDSelectorBitmap chosen(bytes, bits);
        std::unique_ptr<faiss::InvertedListScanner> scanner(
                ivf->get_InvertedListScanner(false, bits ? &chosen : nullptr));
        scanner->set_query(query);
        faiss::heap_heapify<Best>(k, distances, labels);
        for (size_t i = 0; i < count; i++) {
            if (lists[i] < 0 || static_cast<size_t>(lists[i]) >= ivf->nlist) {
                return 1;
            }
            scanner->set_list(lists[i], nearness[i]);
            scanner->scan_codes(lengths[i], codes[i], ids[i], distances, labels, k);
        }
        faiss::heap_reorder<Best>(k, distances, labels);
        return 0;
    } catch (const std::exception&) {
        return 2;
    }
}
}
